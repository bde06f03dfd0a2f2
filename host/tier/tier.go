// Package tier is the gate: which tier a feature needs, and whether this
// installation has it.
//
// # The ladder
//
// [Gate.Check] looks at what is known here alone: the tier that the operator
// declared in config.yaml, and a licence that holds. [Gate.CheckRemote] takes
// the platform's word into account, as far as it was fetched and verified
// before; it never waits for the network:
//
//  1. Where the local tier allows, it is allowed at once, and a refresh is asked
//     for in the background. If the verified entitlements that are cached say
//     otherwise, it is carl.gate.tier_remote_mismatch: so a declaration that the
//     platform does not bear out fails on a later call.
//  2. Where the local tier denies, the cache alone is asked: a verified token
//     within its grace of 24 hours that has the tier, or a grant for the
//     feature, allows. Otherwise it is carl.gate.tier_denied.
//
// The gate advises an honest user: whoever has this user's rights can edit
// config.yaml. The platform enforces.
package tier

import (
	"carl.camp/carl/host/fault"
)

// Tier is how much was paid for. Tiers are ordered.
type Tier uint8

// The tiers.
const (
	Free Tier = iota
	Paid
)

func (t Tier) String() string {
	if t == Paid {
		return "paid"
	}
	return "free"
}

// Parse returns the tier of a name. A name that this version does not know
// counts as [Free]: a later tier must not be guessed at.
func Parse(name string) Tier {
	if name == Paid.String() {
		return Paid
	}
	return Free
}

// Lower reports whether the tier named a is lower than the one named b.
func Lower(a, b string) bool { return Parse(a) < Parse(b) }

// Feature is what a gate stands before.
type Feature struct {
	// Key names it, in tokens too: an entitlement with this key grants it.
	Key string
	// Needs is the lowest tier that has it.
	Needs Tier
	// Summary says what it is, for people.
	Summary string
}

// The keys of the features.
const (
	TrainLocal   = "train.slime.local"
	TrainManaged = "train.slime.managed"
)

// features is the one table of features, sorted by key.
var features = [...]Feature{
	{TrainLocal, Free, "training runs on this machine"},
	{TrainManaged, Paid, "training runs on the platform"},
}

// Features returns all features, sorted by key.
func Features() []Feature { return append([]Feature(nil), features[:]...) }

// find returns the index of a feature, or -1.
func find(key string) int {
	for i := range features {
		if features[i].Key == key {
			return i
		}
	}
	return -1
}

// By says what allowed a feature.
type By string

// What can allow.
const (
	ByLocal   By = "local"   // the declared tier
	ByLicense By = "licence" // an imported offline licence
	ByGrace   By = "grace"   // the tier of the cached entitlements
	ByGrant   By = "grant"   // an entitlement for the feature itself, whatever the tier
)

// Decision is a gate's answer.
type Decision struct {
	Feature string
	Allowed bool
	// By is what allowed it; "" where it is denied.
	By By
	// Tier is the tier that the answer rests on.
	Tier Tier
	// Code is why it is denied; "" where it is allowed.
	Code fault.Code
	// needs is the tier that is missing.
	needs Tier
}

// Err is nil where the feature is allowed, and otherwise the refusal, as a
// *[fault.Error].
func (d Decision) Err() error {
	switch d.Code {
	case "":
		return nil
	case fault.GateUnknownFeature:
		return fault.New(d.Code, "gate: there is no feature %q", d.Feature)
	case fault.GateTierRemoteMismatch:
		return fault.New(d.Code, "gate: %s needs the tier %s, which config.yaml declares and the platform's verified entitlements (%s) do not grant", d.Feature, d.needs, d.Tier)
	}
	return fault.New(d.Code, "gate: %s needs the tier %s, and the tier here is %s", d.Feature, d.needs, d.Tier)
}
