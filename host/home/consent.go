package home

import (
	"strings"
	"time"

	"carl.camp/carl/host/fault"
)

// Telemetry is the one thing that can be consented to.
const Telemetry = "telemetry"

// Consent is what the user said about telemetry leaving the machine.
type Consent struct{ h *Home }

// Consent returns the home's consent.
func (h *Home) Consent() Consent { return Consent{h} }

// ConsentState is the answer at one moment.
type ConsentState struct {
	// Granted is what counts: consent was given and nothing overrides it.
	Granted bool
	// Epoch counts how often consent was given; 0 is never. What is recorded
	// under consent carries the epoch of its day.
	Epoch uint32
	// Stored is what the user said, before the environment is asked.
	Stored bool
	// OverriddenBy is the environment variable that forbids, or "".
	OverriddenBy string
	// GrantedAt and RevokedAt are when consent was last given and withdrawn; zero for never.
	GrantedAt, RevokedAt time.Time
}

type consentFile struct {
	V         int       `json:"v"`
	Granted   bool      `json:"granted"`
	Epoch     uint32    `json:"epoch"`
	GrantedAt time.Time `json:"granted_at,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
}

func (c Consent) file() jsonFile {
	return jsonFile{
		path: c.h.Paths.Consent,
		max:  maxSmallFile,
		lost: "consent counts as not given",
		mend: "run `carl consent grant telemetry` or `carl consent revoke telemetry`: either moves the damaged file aside",
	}
}

// State returns the consent that counts in a process with the environment
// environ. AXON_FORWARD_DISABLED and DO_NOT_TRACK forbid with any value but
// "", 0 and false. With an error, consent is not given.
func (c Consent) State(environ []string) (ConsentState, error) {
	var f consentFile
	if _, err := c.file().read(&f); err != nil {
		return ConsentState{}, err
	}
	s := ConsentState{
		Stored:    f.Granted,
		Epoch:     f.Epoch,
		GrantedAt: f.GrantedAt,
		RevokedAt: f.RevokedAt,
	}
	for _, name := range []string{"AXON_FORWARD_DISABLED", "DO_NOT_TRACK"} {
		switch strings.ToLower(lookup(environ, name)) {
		case "", "0", "false":
		default:
			if s.OverriddenBy == "" {
				s.OverriddenBy = name
			}
		}
	}
	s.Granted = s.Stored && s.OverriddenBy == ""
	return s, nil
}

// Grant gives consent to what, which must be [Telemetry]. It begins a new
// epoch, unless consent stands already: what waits under it stays due.
func (c Consent) Grant(what string) error {
	return c.change(what, func(f *consentFile) bool {
		if f.Granted {
			return false
		}
		f.Granted = true
		f.Epoch++
		f.GrantedAt = now()
		return true
	})
}

// Revoke withdraws consent to what, which must be [Telemetry].
func (c Consent) Revoke(what string) error {
	return c.change(what, func(f *consentFile) bool {
		if !f.Granted && f.V == version {
			return false
		}
		f.Granted = false
		f.RevokedAt = now()
		return true
	})
}

func (c Consent) change(what string, change func(*consentFile) bool) error {
	if what != Telemetry {
		return fault.New(fault.ConsentUnknown, "there is nothing called %.40q to consent to; the only one is %q", what, Telemetry).
			WithKept("the consent was left as it is")
	}
	return c.h.guarded(func() error {
		var f consentFile
		_, err := c.file().read(&f)
		if fault.CodeOf(err) == fault.HomeCorrupt {
			if err := c.file().aside(); err != nil {
				return err
			}
			// The epochs that were handed out are lost with the file. Seconds
			// since 1970 are beyond any of them.
			f = consentFile{Epoch: uint32(time.Now().Unix())}
		} else if err != nil {
			return err
		}
		if !change(&f) {
			return nil
		}
		f.V = version
		return c.file().write(&f)
	})
}

// now is the current time as the JSON files keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
