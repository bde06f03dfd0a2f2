package constitution

import (
	"cmp"
	"slices"
	"strings"
)

// maxSteps bounds the work of holding the rules against each other: a second in
// the worst document, and ten times what others take.
const maxSteps = 1 << 28

// set is a set of states, each by its place.
type set [maxStates / 64]uint64

func (s *set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// without returns s without the states of t.
func (s set) without(t set) set {
	for i := range s {
		s[i] &^= t[i]
	}
	return s
}

// reach refuses the states that no rule leads to from the initial one.
func (r *document) reach(c *Constitution, states []*node) {
	reached := map[string]bool{c.initial: true}
	for queue := []string{c.initial}; len(queue) > 0; queue = queue[1:] {
		for _, l := range c.rules[queue[0]] {
			if !reached[l.next] {
				reached[l.next] = true // "", too, which is no state and has no rules
				queue = append(queue, l.next)
			}
		}
	}
	for _, s := range states {
		if v, _ := valueOf(s.raw); !reached[v.text] {
			r.refuse(s, "no rule leads to this state")
		}
	}
}

// shadows refuses the rules that cannot decide, since in each of their states
// one rule before them covers them. It looks at the rules that are right in themselves.
func (r *document) shadows(rules []placed) {
	var p prover
	for i, l := range rules {
		open := l.in
		var by []string
		for _, e := range rules[:i] {
			if p.steps > maxSteps {
				r.refuse(l.at, "the rules up to here are too long to be held against each other")
				return
			}
			rest := open.without(e.in)
			if rest == open || !p.rule(e.rule, l.rule) {
				continue
			}
			open = rest
			by = append(by, e.id)
		}
		if len(by) > 0 && open == (set{}) {
			r.refuse(l.at, "this rule never decides: all that it applies to is decided before it, by %.256s", strings.Join(by, ", "))
		}
	}
}

// prover shows that whatever one thing matches another matches too. It may miss
// that, and never claims it wrongly: e, the earlier one, covers l, the later one.
type prover struct{ steps int }

func (p *prover) rule(e, l *rule) bool {
	if !p.glob(e.action, l.action) || e.name != "" && !p.glob(e.name, cmp.Or(l.name, "*")) {
		return false
	}
	for i := range e.where {
		j := slices.IndexFunc(l.where, func(m matcher) bool { return m.attribute == e.where[i].attribute })
		if j < 0 || !p.matcher(&e.where[i], &l.where[j]) {
			return false
		}
	}
	return true
}

func (p *prover) glob(e, l string) bool {
	ok, steps := walk(e, l, true)
	p.steps += 1 + steps
	return ok
}

// accepts is m.match, counted.
func (p *prover) accepts(m *matcher, v value) bool {
	p.steps += 1 + len(m.values) + len(m.glob)*len(v.text)
	return m.match(v)
}

func (p *prover) matcher(e, l *matcher) bool {
	if yes, ok := l.finite(); ok {
		return !slices.ContainsFunc(yes, func(v value) bool { return !p.accepts(e, v) })
	}
	switch {
	case l.is&^e.is != 0:
		return false
	case e.glob != "" && !l.negated:
		return !e.negated && p.glob(e.glob, l.glob)
	case e.glob != "" && !e.negated: // l is all texts but some
		return p.glob(e.glob, "*")
	case e.glob != "": // where l is a list, its glob is "", which covers none
		return p.glob(l.glob, e.glob)
	case e.ranged() && !l.negated:
		return !e.negated && spans(e, l)
	case e.ranged():
		return e.negated && l.ranged() && spans(l, e)
	}
	// Infinitely many values can be covered by values only as all but some.
	return e.negated && !slices.ContainsFunc(e.values, func(v value) bool { return p.accepts(l, v) })
}

// spans reports whether one range contains another.
func spans(outer, inner *matcher) bool {
	return (outer.min == nil || inner.min != nil && outer.min.Cmp(inner.min) <= 0) &&
		(outer.max == nil || inner.max != nil && outer.max.Cmp(inner.max) >= 0)
}
