package constitution

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxDocument bounds a document: what people can still read is a tenth of it.
	maxDocument = 256 << 10
	// maxDepth bounds its nesting. Matchers begin at the fifth level; the rest is
	// for negations.
	maxDepth = 16
	// maxStates, maxRules, maxMatchers (of a rule) and maxList (of values) leave
	// room for generated documents, and bound what is held against each other.
	maxStates   = 256
	maxRules    = 1024
	maxMatchers = 32
	maxList     = 256
	// maxText bounds a text.
	maxText = 1 << 10
	// maxDigits are those of a version that is a number: as many as every double keeps.
	maxDigits = 15
)

// word is the form of what stands in every ledger block.
var word = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Parse reads a document and proves what it can about it; see the package
// comment. It returns a Constitution, or what is wrong: at most 100 problems, in
// the order of the document. Of a text that is not legal JSON the first is told
// alone; and whether each state is reached is asked only where all states, and
// the in and next of all rules, are right.
func Parse(doc []byte) (*Constitution, []Problem) {
	root, problems := open(doc, maxDocument, maxDepth)
	if problems != nil {
		return nil, problems
	}
	r := document{states: make(map[string]int), ids: map[string]bool{DefaultRule: true}}
	c := r.read(root)
	if len(r.found) > 0 {
		return nil, r.problems()
	}
	digest := sha256.Sum256(canonical(doc))
	c.digest = hex.EncodeToString(digest[:])
	return c, nil
}

// canonical returns the RFC 8785 form of legal JSON.
func canonical(raw jsontext.Value) jsontext.Value {
	out := raw.Clone()
	if err := out.Canonicalize(); err != nil {
		panic("constitution: legal JSON has no canonical form: " + err.Error())
	}
	return out
}

// document is the reader of one.
type document struct {
	reader
	states map[string]int // to their place in a set
	ids    map[string]bool
}

// placed is a rule with what only the proofs look at.
type placed struct {
	*rule
	in set
	at *node
}

func (r *document) read(n *node) *Constitution {
	m := r.object(n, 5, "name", "version", "initial", "states", "rules")
	c := &Constitution{rules: make(map[string][]*rule)}
	states := r.entries(m["states"], '[', 1, maxStates)
	var order []string
	for _, s := range states {
		name := r.word(s)
		if _, twice := r.states[name]; !twice {
			r.states[name], c.rules[name] = len(r.states), nil
			order = append(order, name)
		} else if name != "" {
			r.refuse(s, "this state stands here a second time")
		}
	}
	c.initial = r.state(m["initial"])
	list := r.entries(m["rules"], '[', 0, maxRules)
	astray := len(r.found) > 0 // whether a rule may lead elsewhere than it seems to
	c.name, c.version = r.word(m["name"]), r.version(m["version"])

	var right []placed
	for _, n := range list {
		before := len(r.found)
		l := placed{rule: new(rule), at: n}
		m := r.object(n, 3, "id", "action", "verdict", "in", "name", "where", "next")
		l.in, l.next = r.in(m["in"]), r.state(m["next"])
		astray = astray || len(r.found) > before
		r.rule(l.rule, m)
		listed := Rule{ID: l.id, Action: l.action, Name: l.name, Verdict: l.verdict, Next: l.next}
		for _, name := range order {
			if l.in.has(r.states[name]) {
				c.rules[name] = append(c.rules[name], l.rule)
				listed.In = append(listed.In, name)
			}
		}
		if where := m["where"]; where != nil {
			listed.Where = canonical(where.raw)
		}
		c.listed = append(c.listed, listed)
		if len(r.found) == before {
			right = append(right, l)
		}
	}
	if !astray {
		r.reach(c, states)
	}
	r.shadows(right)
	return c
}

func (r *document) in(n *node) (in set) {
	if n == nil {
		for i := range len(r.states) {
			in.add(i)
		}
	}
	for _, s := range r.entries(n, '[', 1, maxStates) {
		i, known := r.states[r.state(s)]
		if known && in.has(i) {
			r.refuse(s, "this state stands here a second time")
		}
		if known {
			in.add(i)
		}
	}
	return in
}

func (r *document) rule(l *rule, m map[string]*node) {
	l.id = r.word(m["id"])
	if l.id != "" && r.ids[l.id] {
		r.refuse(m["id"], "the id %.64q is taken: every rule has its own, and %q stands for no rule", l.id, DefaultRule)
	}
	r.ids[l.id] = true
	l.action, l.name = r.glob(m["action"]), r.glob(m["name"])
	if len(l.action)-strings.Count(l.action, "*") > maxKind {
		r.refuse(m["action"], "nothing can match this: the kind of an action has at most %d bytes", maxKind)
	}
	l.verdict = Verdict(r.text(m["verdict"], maxText))
	if !slices.Contains([]Verdict{Allow, Deny, Escalate, ""}, l.verdict) {
		r.refuse(m["verdict"], "want allow, deny or escalate, and found %.48q", l.verdict)
	}
	for _, c := range r.entries(m["where"], '{', 1, maxMatchers) {
		if c.token == "" || len(c.token) > maxText {
			r.refuseName(c, "the name of an attribute is empty, or longer than %d bytes", maxText)
		}
		before := len(r.found)
		matcher := r.matcher(c)
		matcher.attribute = c.token
		if yes, finite := matcher.finite(); finite && len(yes) == 0 && len(r.found) == before {
			r.refuse(c, "nothing can match this")
		}
		l.where = append(l.where, matcher)
	}
}

func (r *document) matcher(n *node) (m matcher) {
	if n.raw.Kind() != '{' {
		return r.oneOf(n)
	}
	o := r.object(n, 0, "equals", "glob", "in", "not", "min", "max")
	if len(o) != 1 && !(len(o) == 2 && o["min"] != nil && o["max"] != nil) {
		r.refuse(n, "want one of equals, glob, in and not, or min and max, of which one may be left out")
		return m
	}
	switch {
	case o["equals"] != nil:
		return r.oneOf(o["equals"])
	case o["in"] != nil:
		return r.oneOf(r.entries(o["in"], '[', 1, maxList)...)
	case o["glob"] != nil:
		g := r.glob(o["glob"])
		if !strings.ContainsAny(g, "*?") {
			return matcher{is: isText, values: []value{{is: isText, text: g}}}
		}
		return matcher{is: isText, glob: g}
	case o["not"] != nil:
		m = r.matcher(o["not"])
		m.negated = !m.negated
		return m
	}
	lo, hi := r.bound(o["min"]), r.bound(o["max"])
	switch {
	case lo.number == nil || hi.number == nil:
	case lo.equal(hi):
		return matcher{is: isNumber, values: []value{lo}}
	case lo.number.Cmp(hi.number) > 0:
		r.refuse(n, "min is greater than max")
	}
	return matcher{is: isNumber, min: lo.number, max: hi.number}
}

func (r *document) oneOf(list ...*node) (m matcher) {
	for _, n := range list {
		v := r.scalar(n)
		if v.is != 0 && slices.ContainsFunc(m.values, v.equal) {
			r.refuse(n, "this value stands here a second time")
		}
		m.is |= v.is
		m.values = append(m.values, v)
	}
	return m
}

func (r *document) bound(n *node) value {
	if !r.want(n, '0') {
		return value{}
	}
	return r.scalar(n)
}

// scalar reads a value that attributes are compared with.
func (r *document) scalar(n *node) value {
	v, ok := valueOf(n.raw)
	switch v.is {
	case isText:
		r.text(n, maxText)
	case isNumber:
		written := canonical(n.raw)
		if w, _ := valueOf(written); !ok || !w.equal(v) {
			r.refuse(n, "the number %.48s is not exact in RFC 8785, which has %s: write that, or text", n.raw, written)
		}
	case 0:
		r.refuse(n, "want text, a number, true or false, and found %s", kinds[n.raw.Kind()])
	}
	return v
}

func (r *document) version(n *node) string {
	if n == nil || n.raw.Kind() != '0' {
		return r.word(n)
	}
	if len(n.raw) > maxDigits || strings.Trim(string(n.raw), "0123456789") != "" {
		r.refuse(n, "want text, or a whole number of at most %d digits: quote the version", maxDigits)
	}
	return string(n.raw)
}

// state reads the name of a state that there must be.
func (r *document) state(n *node) string {
	name := r.text(n, maxText)
	if _, known := r.states[name]; name != "" && !known && len(r.states) > 0 {
		r.refuse(n, "there is no state %.64q", name)
	}
	return name
}

func (r *document) glob(n *node) string {
	g := r.text(n, maxText)
	if i := strings.IndexAny(g, `[]{}\`); i >= 0 {
		r.refuse(n, "%q is not allowed: a glob has * for any run of characters and ? for one, and nothing else", g[i])
	}
	return g
}

func (r *document) word(n *node) string {
	s := r.text(n, maxText)
	if s != "" && !word.MatchString(s) {
		r.refuse(n, "%.64q is not a name: at most 64 letters, digits, dots, underscores and hyphens, of which the first is a letter or a digit", s)
	}
	return s
}
