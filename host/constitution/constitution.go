// Package constitution decides what an agent may do. A constitution is a
// finite-state machine: in each state, an ordered list of rules says of an
// action whether it is allowed, denied, or left to a person, and which state
// follows. The answer is a pure function of the document, the state and the
// action: nothing here reads a file, a clock or the environment.
//
// # The document
//
// One JSON text (RFC 8259) of at most 256 KiB. Members that are not named here,
// members that stand twice, empty texts and empty lists are refused.
//
//	{"name": "coding-agent", "version": "1.2.0", "initial": "idle",
//	 "states": ["idle", "coding"],
//	 "rules": [
//	   {"id": "read", "action": "read.*", "verdict": "allow"},
//	   {"id": "notes", "in": ["idle"], "action": "write.file", "name": "*.md",
//	    "where": {"lines": {"max": 500}}, "verdict": "allow", "next": "coding"}]}
//
// name, states and ids are [A-Za-z0-9][A-Za-z0-9._-]{0,63}; version is one of
// these too, or a whole number. A rule applies in the states of in, by default
// in all; to actions whose kind its action matches and whose name its name
// matches, by default any or none; and whose attributes all matchers of where
// match. Its verdict is allow, deny or escalate; its next is the state that
// follows, by default the same.
//
// The first rule that applies decides. Where none does, the verdict is deny, the
// rule is called "default" and the state stays: what nobody thought of is
// denied, and needs no rule.
//
// # Globs
//
// In action, name and the matcher glob, * stands for any run of characters,
// dots and slashes included, and ? for one character. There is nothing else, so
// [ ] { } and \ are refused rather than taken for themselves. Kinds and names are
// compared as they are given: docs/* matches docs/../.env, unless whoever asks
// cleans paths first.
//
// # Matchers
//
//	"main", 3, true           equal to it
//	{"equals": "main"}        the same
//	{"glob": "release/*"}     text that the glob matches
//	{"min": 1, "max": 9}      a number from 1 to 9; either may be left out
//	{"in": ["main", 3]}       equal to one of them
//	{"not": {"glob": "*.md"}} the other way round
//
// Numbers are compared as the decimals that they are, never as floats: 1.0 is
// 1, and 9007199254740993 is not 9007199254740992. A number in a constitution
// must be one that RFC 8785 can write, since otherwise two constitutions that
// decide differently would have one digest.
//
// # Three values
//
// A matcher says yes, no, or nothing: nothing where the attribute is absent, and
// where its value has a JSON type that the matcher does not name. The negation
// of nothing is nothing, and a rule applies only where every matcher says yes.
// So a rule that allows unless the branch is main cannot be entered by leaving
// the branch out, or by giving a list in its place.
//
// A rule that denies or escalates under a condition is passed in just that way: by
// leaving the attribute out. Where a later rule would allow the action, narrow that
// rule instead.
//
// # What is proved
//
// [Parse] refuses a document of which a part can have no effect: a state that no
// rule leads to, a rule that others before it cover in each of its states, a
// matcher that nothing can match. It claims that only where it holds; not every
// such part is found, for instance where two ranges together cover a third.
package constitution

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
)

// Verdict is what a constitution says of an action.
type Verdict string

// The verdicts. Only Allow lets an action happen.
const (
	Allow    Verdict = "allow"
	Deny     Verdict = "deny"
	Escalate Verdict = "escalate" // a person has to decide
)

// DefaultRule is the rule of a decision where no rule applies; no rule may
// have it as its id.
const DefaultRule = "default"

// Constitution is a document that [Parse] found right. It is immutable, and
// safe for use by several goroutines.
type Constitution struct {
	name, version, initial, digest string
	// rules are those of each state, in the order of the document.
	rules map[string][]*rule
	// listed are all of them, for people.
	listed []Rule
}

// Rule is one rule as it stands in the document.
type Rule struct {
	ID string
	// In are the states in which it is tried, in the order of the document.
	In []string
	// Action and Name are globs; a Name of "" is any.
	Action, Name string
	// Where is the mapping of its matchers in canonical form, nil where it has none.
	Where   jsontext.Value
	Verdict Verdict
	// Next is the state that follows, "" where the state stays.
	Next string
}

// Rules returns all rules, in the order in which they are tried. What the fields
// refer to is not the caller's to change.
func (c *Constitution) Rules() []Rule { return slices.Clone(c.listed) }

// rule is one rule, without its states.
type rule struct {
	id           string
	action, name string // globs; a name of "" is any
	where        []matcher
	verdict      Verdict
	next         string // "" where the state stays
}

// Name returns the name of the constitution.
func (c *Constitution) Name() string { return c.name }

// Version returns its version; a whole number as its digits.
func (c *Constitution) Version() string { return c.version }

// Initial returns the state to begin in.
func (c *Constitution) Initial() string { return c.initial }

// Has reports whether the constitution has a state.
func (c *Constitution) Has(state string) bool {
	_, ok := c.rules[state]
	return ok
}

// Digest returns the SHA-256 of the document in its canonical form (RFC 8785),
// in lowercase hex. Constitutions with equal digests decide alike.
func (c *Constitution) Digest() string { return c.digest }

// Decision is the answer to one action.
type Decision struct {
	Verdict Verdict
	// Rule is the id of the rule that decided, or [DefaultRule].
	Rule string
	// From is the state in which the action was judged, To the one that follows.
	From, To string
}

// Evaluate judges an action in a state. It allocates nothing, and takes at most
// as many steps as the globs and lists of the state's rules are long, times the
// length of the texts that they are compared with. The error, for a state that
// the constitution does not have, is carl.constitutional.not_adopted, and comes
// with the zero Decision.
func (c *Constitution) Evaluate(state string, a Action) (Decision, error) {
	if !c.Has(state) {
		return Decision{}, fault.New(fault.ConstitutionNotAdopted, "constitution: %s has no state %.64q", c.name, state)
	}
	d := Decision{Verdict: Deny, Rule: DefaultRule, From: state, To: state}
	for _, r := range c.rules[state] {
		if !r.applies(&a) {
			continue
		}
		d.Verdict, d.Rule = r.verdict, r.id
		if r.next != "" {
			d.To = r.next
		}
		break
	}
	return d, nil
}

func (r *rule) applies(a *Action) bool {
	if !match(r.action, a.Kind) || r.name != "" && !match(r.name, a.Name) {
		return false
	}
	for i := range r.where {
		// An absent attribute is the zero value, which no matcher says yes to.
		if !r.where[i].match(a.attributes[r.where[i].attribute]) {
			return false
		}
	}
	return true
}
