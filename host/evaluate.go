package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/constitution"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/ledger"
	"carl.camp/carl/host/private"
)

// maxConstitution bounds a stored constitution, as package constitution does.
const maxConstitution = 256 << 10

// Ledger is the signed record of every verdict. It touches nothing until it is
// asked.
func (h *Host) Ledger() *ledger.Ledger { return h.ledger }

// Adopt makes a constitution, a JSON text that [constitution.Parse] finds right,
// the one that holds from now on: it is stored under its digest, and then a
// signed block says so. The state stays, where the new constitution has it;
// otherwise the next verdict begins in its initial state.
//
// The error is carl.constitutional.invalid where anything is wrong
// with it, or one of [ledger.Ledger.Append].
func (h *Host) Adopt(doc []byte) (*ledger.Block, error) {
	c, problems := constitution.Parse(doc)
	if len(problems) > 0 {
		return nil, fault.New(fault.ConstitutionInvalid, "constitution: %.128q: %s", problems[0].Pointer, problems[0].Message).WithKept("nothing was recorded")
	}
	if err := h.home.Create(); err != nil {
		return nil, err
	}
	if err := private.MkdirAll(h.home.Paths.Constitutions); err != nil {
		return nil, err
	}
	if err := private.WriteFile(h.constitutionFile(c.Digest()), doc); err != nil {
		return nil, err
	}
	return h.ledger.Append(func(ledger.State) (ledger.Entry, error) {
		return &ledger.Constitution{Digest: c.Digest(), Name: c.Name(), Version: c.Version()}, nil
	})
}

func (h *Host) constitutionFile(digest string) string {
	return filepath.Join(h.home.Paths.Constitutions, digest+".json")
}

// Constitution returns the constitution that was adopted under a digest. The
// error is carl.constitutional.not_adopted where it is not there, or is another.
func (h *Host) Constitution(digest string) (*constitution.Constitution, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.constitution; c != nil && c.Digest() == digest {
		return c, nil
	}
	if digest == "" {
		return nil, fault.New(fault.ConstitutionNotAdopted, "fsm: no constitution was adopted, and nothing is allowed without one").WithKept("nothing was recorded")
	}
	missing := func(format string, args ...any) error {
		return fault.New(fault.ConstitutionNotAdopted, "fsm: "+format, args...).
			WithKept("nothing was recorded").WithHint("run `carl fsm adopt FILE` with the constitution that is to hold")
	}
	doc, err := private.ReadFile(h.constitutionFile(digest), maxConstitution)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing("the constitution %.12s… that was adopted is not at %s", digest, h.constitutionFile(digest))
	}
	if err != nil {
		return nil, err
	}
	c, problems := constitution.Parse(doc)
	if len(problems) > 0 || c.Digest() != digest {
		return nil, missing("%s is not the constitution that was adopted", h.constitutionFile(digest))
	}
	h.constitution = c
	return c, nil
}

// Verdict is the recorded answer to one action.
type Verdict struct {
	constitution.Decision
	// Block is the signed block that records it.
	Block *ledger.Block
}

// EvaluateOptions say how an action is recorded.
type EvaluateOptions struct {
	// KeepPayload keeps the text of the payload, redacted, and not only the
	// digest of the action.
	KeepPayload bool
}

// Evaluate asks the adopted constitution about an action, one JSON text in the
// form of [constitution.ParseAction], and answers only once the verdict is in a
// durable, signed block. Only [constitution.Allow] lets the action happen: with
// an error there is no verdict, and what was asked for must not be done.
//
// Concurrent callers, of several processes too, share one chain of blocks; the
// state that a verdict is given in is what the block before it left.
func (h *Host) Evaluate(action []byte, o EvaluateOptions) (*Verdict, error) {
	a, err := constitution.ParseAction(action)
	if err != nil {
		return nil, err
	}
	canonical := jsontext.Value(action).Clone()
	// Numbers as they were written: RFC 8785 makes doubles of them, and two that
	// become the same one may be decided differently.
	if err := canonical.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		return nil, fault.New(fault.ActionInvalid, "action: %w", err)
	}
	sum := sha256.Sum256(canonical)
	recorded := ledger.Action{Kind: h.redactor.String(a.Kind), Name: h.redactor.String(a.Name), Digest: hex.EncodeToString(sum[:])}
	if o.KeepPayload && a.Payload != nil {
		recorded.Payload = string(h.redactor.JSON(a.Payload))
	}
	if err := h.home.Create(); err != nil {
		return nil, err
	}
	v := new(Verdict)
	v.Block, err = h.ledger.Append(func(s ledger.State) (ledger.Entry, error) {
		c, err := h.Constitution(s.Constitution)
		if err != nil {
			return nil, err
		}
		from := s.State
		if !c.Has(from) {
			from = c.Initial() // the first verdict, or the first under another constitution
		}
		if v.Decision, err = c.Evaluate(from, a); err != nil {
			return nil, err
		}
		return &ledger.Decision{
			Action: recorded, Constitution: s.Constitution, Rule: v.Rule,
			From: v.From, To: v.To, Verdict: string(v.Verdict),
		}, nil
	})
	if errors.Is(err, ledger.ErrTooLong) && recorded.Payload != "" {
		return nil, fault.New(fault.ActionInvalid, "action: its payload does not fit into a block, which has 64 KiB").WithKept("nothing was decided or recorded").
			WithHint("without --keep-payload its digest alone is kept")
	}
	if err != nil {
		return nil, err
	}
	h.tellVerdict(v)
	return v, nil
}

// tellVerdict shows a recorded verdict to the callback, and survives it.
func (h *Host) tellVerdict(v *Verdict) {
	if h.onVerdict == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			h.log.Warn("the verdict callback panicked; the verdict stands", "seq", v.Block.Seq, "panic", fmt.Sprint(r))
		}
	}()
	if err := h.onVerdict(v); err != nil {
		h.log.Warn("the verdict callback failed; the verdict stands", "seq", v.Block.Seq, "error", err)
	}
}

// Err is nil for an allow, and otherwise the refusal, as a *[fault.Error].
func (v *Verdict) Err() error {
	code, does := fault.ConstitutionDenied, "denies this"
	switch v.Decision.Verdict {
	case constitution.Allow:
		return nil
	case constitution.Escalate:
		code, does = fault.ConstitutionEscalated, "leaves this to a person"
	}
	by := fmt.Sprintf("rule %s %s in state %s", v.Rule, does, v.From)
	if v.Rule == constitution.DefaultRule {
		by = fmt.Sprintf("no rule applies in state %s, and the default %s", v.From, does)
	}
	return fault.New(code, "fsm: %s", by).WithKept("the verdict is block %d", v.Block.Seq)
}
