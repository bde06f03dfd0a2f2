package standin

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"carl.camp/carl/host/fault"
)

const (
	// defaultRunTime is how long a run takes: a person sees every state of it.
	defaultRunTime = 6 * time.Second
	// maxRunPage bounds the list of runs.
	maxRunPage = 100
	// maxKey bounds an Idempotency-Key.
	maxKey = 128
	// maxState and maxWhy bound what /dev/ may say of a run.
	maxState = 64
	maxWhy   = 300
	// defaultWhy is why a run failed of which nothing else is said.
	defaultWhy = "the trainer ended with exit status 1"
)

// idempotencyKey returns the key of the request, or "" where there is not one.
func (c *call) idempotencyKey() string {
	fields := c.Header["Idempotency-Key"]
	if len(fields) != 1 || !isKey(fields[0]) {
		return ""
	}
	return fields[0]
}

func isKey(s string) bool {
	return s != "" && len(s) <= maxKey && !strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' })
}

// isState accepts the states that /dev/ may give a run.
func isState(s string) bool {
	return s != "" && len(s) <= maxState && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
}

func isWhy(s string) bool {
	return len(s) <= maxWhy && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// begun is the answer to a submission.
type begun struct {
	RunID  string `json:"run_id"`
	Status string `json:"status"`
}

var keyText = fmt.Sprintf("there must be one Idempotency-Key of 1 to %d characters of visible ASCII", maxKey)

// postRun begins a run, once for each key.
func (s *Server) postRun(c *call) answer {
	if !c.contentType("application/json") {
		return refuse(415, "unsupported_media_type", "the body must be application/json")
	}
	key := c.idempotencyKey()
	if key == "" {
		return refuse(422, "invalid_idempotency_key", keyText)
	}
	if len(c.body) > maxPayload {
		return refuse(413, "too_large", fmt.Sprintf("the payload is larger than %d bytes", maxPayload))
	}
	// What was begun once is answered as it was, whatever became of the account.
	known, err := s.runs.known(key, sumOf(c.body))
	if err != nil {
		return refuseRun(err)
	}
	if known != nil {
		return started(200, *known)
	}
	if !s.issuer.may(paidBrings) {
		return refuse(402, "upgrade_required", fmt.Sprintf("managed training needs the tier %s (%s) or the grant %s; this account is on %s: upgrade it, then submit again",
			tierPaid, label(tierPaid), paidBrings, label(s.issuer.current().Tier)))
	}
	steps, refused := parsePayload(c.body, s.token)
	if refused != nil {
		return *refused
	}
	run, created, err := s.runs.begin(key, c.body, steps, s.clock())
	switch {
	case err != nil:
		return refuseRun(err)
	case !created:
		return started(200, run)
	}
	return started(201, run)
}

func started(status int, run runBegun) answer {
	doc := begun{run.RunID, "queued"}
	a := reply(status, doc)
	say := func(id, state string) func() answer {
		return func() answer { return reply(status, begun{id, state}) }
	}
	a.lies = []func() answer{
		say("", doc.Status),
		say(strings.ReplaceAll(doc.RunID, "-", ""), doc.Status),
		say(doc.RunID, ""),
		say(doc.RunID, "queued\x1b[2J"),
	}
	return a
}

// refuseRun is the answer where a run or a resonant was not taken.
func refuseRun(err error) answer {
	var refused *refusalError
	if errors.As(err, &refused) {
		return refuse(refused.status, refused.code, refused.message)
	}
	return refuse(500, "storage", "it could not be stored: "+err.Error())
}

// may reports whether the token's owner is granted key now.
func (i *issuer) may(key string) bool {
	now := i.clock().Unix()
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, g := range i.state.granted(i.state.Tier, i.state.TierSince, now) {
		if g.Key == key {
			return true
		}
	}
	return false
}

func (s *Server) getRun(c *call) answer {
	doc, found := s.runs.get(c.rest, s.clock())
	if !found {
		return noRun()
	}
	a := reply(200, doc)
	say := func(change func(*runDoc)) func() answer {
		return func() answer {
			other := doc
			change(&other)
			return reply(200, other)
		}
	}
	two, less := 2.0, int64(-1)
	a.lies = []func() answer{
		say(func(d *runDoc) { d.RunID = newUUID() }),
		say(func(d *runDoc) { d.Status = "" }),
		say(func(d *runDoc) { d.Status = "running\x1b[2J" }),
		say(func(d *runDoc) { d.Progress = &two }),
		say(func(d *runDoc) { d.Step = &less }),
	}
	return a
}

func noRun() answer { return refuse(404, "not_found", "there is no such run") }

func (s *Server) getRuns(*call) answer {
	type list struct {
		Runs []runDoc `json:"runs"`
	}
	doc := list{s.runs.list(maxRunPage, s.clock())}
	a := reply(200, doc)
	a.lies = []func() answer{
		func() answer { return reply(200, struct{}{}) },
		func() answer { return reply(200, list{append(doc.Runs, runDoc{RunID: "1", Status: "queued"})}) },
	}
	return a
}

// Run is a run that is held.
type Run struct {
	RunID string `json:"run_id"`
	// Status is queued, running, succeeded, failed or cancelled, or what
	// SetRunState made of it.
	Status string `json:"status"`
	// ResonantID is the last resonant that was published of it, or "".
	ResonantID string `json:"resonant_id,omitzero"`
	// Error is why it failed, or "".
	Error string `json:"error,omitzero"`
	// Key is the Idempotency-Key under which it came.
	Key string `json:"idempotency_key"`
	// Received is when it came, in RFC 3339.
	Received string `json:"received"`
	// Takes is how long it takes, a duration of Go's.
	Takes string `json:"takes"`
	// Held says that its clock stands: it was held, or set to a state.
	Held bool `json:"held"`
}

// Runs returns the runs that are held, in the order of their arrival.
func (s *Server) Runs() []Run {
	now := s.clock()
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	list := []Run{}
	for _, r := range s.runs.order {
		d := r.doc(now)
		list = append(list, Run{r.RunID, d.Status, d.ResonantID, d.Error, r.Key, r.Received, r.Takes, r.held})
	}
	return list
}

// Payload returns the body with which a run was submitted, as it was received,
// with spaces for the line feeds between its tokens where it is kept in a file.
func (s *Server) Payload(runID string) ([]byte, bool) {
	body, found, err := s.runs.payload(runID)
	return body, found && err == nil
}

// SetRunTime says how long the runs take that come from now on, from 0s, which
// succeed at once, to ten years. The error is a *[fault.Error] with code
// [fault.Usage].
func (s *Server) SetRunTime(d time.Duration) error { return asFault(s.runs.setTakes(d)) }

// HoldRun keeps a run as it is, and ReleaseRun lets it go on by the clock where
// it was. SetRunState gives it a state of 1 to 64 characters of [a-z0-9_-],
// known to the platform or not, and of an error of one line and at most 300
// bytes; it stays so until the next change. All are durable where there is a
// data folder. Errors are *[fault.Error]: [fault.Usage], [fault.IO].
func (s *Server) HoldRun(runID string) error {
	return s.changeRun(runChange{RunID: runID, Do: doHold})
}

// ReleaseRun is described at [Server.HoldRun].
func (s *Server) ReleaseRun(runID string) error {
	return s.changeRun(runChange{RunID: runID, Do: doRelease})
}

// SetRunState is described at [Server.HoldRun].
func (s *Server) SetRunState(runID, state, why string) error {
	return s.changeRun(runChange{RunID: runID, Do: doState, State: state, Error: why})
}

func (s *Server) changeRun(c runChange) error {
	_, found, err := s.runs.change(c, s.clock())
	switch {
	case err != nil:
		if bad := asFault(err); bad != err {
			return bad
		}
		return fault.New(fault.IO, "stand-in: %w", err)
	case !found:
		return fault.New(fault.Usage, "stand-in: there is no run %.40q", c.RunID)
	}
	return nil
}

func (s *Server) getHeldRuns(*call) answer {
	return reply(200, struct {
		Runs []Run `json:"runs"`
	}{s.Runs()})
}

func (s *Server) getPayload(c *call) answer {
	body, found, err := s.runs.payload(c.rest)
	switch {
	case err != nil:
		return refuse(500, "storage", "the payload could not be read")
	case !found:
		return noRun()
	}
	return answer{status: 200, body: body}
}

func (s *Server) postRunTime(c *call) answer {
	_, err := c.only()
	var d time.Duration
	if err == nil {
		d, err = parseSpan(c.rest)
	}
	if err == nil {
		err = s.runs.setTakes(d)
	}
	if err != nil {
		return refuseChange(err)
	}
	return reply(200, struct {
		Takes string `json:"takes"`
	}{d.String()})
}

// postRunChange does to a run what the last element of the path says.
func (s *Server) postRunChange(c *call) answer {
	id, how, _ := strings.Cut(c.rest, "/")
	change := runChange{RunID: id, Do: doState}
	names, why := []string(nil), ""
	switch how {
	case "succeed":
		change.State = "succeeded"
	case "fail":
		change.State, names, why = "failed", []string{"error"}, defaultWhy
	case "cancel":
		change.State = "cancelled"
	case doHold, doRelease:
		change.Do = how
	default:
		return refuseChange(illegal(fmt.Sprintf("%.40q cannot be done to a run; there are succeed, fail, cancel, hold, release and state/NAME", how)))
	}
	return s.changeOfRun(c, change, names, why)
}

// postRunState gives a run the state that the last element of the path names.
func (s *Server) postRunState(c *call) answer {
	id, state, _ := strings.Cut(c.rest, "/")
	if !isState(state) {
		return refuseChange(illegal(fmt.Sprintf("%.40q is not a state, which is 1 to %d characters of a-z, 0-9, hyphen and underscore", state, maxState)))
	}
	return s.changeOfRun(c, runChange{RunID: id, Do: doState, State: state}, []string{"error"}, "")
}

// changeOfRun makes a change to a run that may take the named members of a
// query, of which error is otherwise why, and answers how the run is then.
func (s *Server) changeOfRun(c *call, change runChange, names []string, why string) answer {
	members, err := c.only(names...)
	if err != nil {
		return refuseChange(err)
	}
	if change.Error = members.Get("error"); change.Error == "" {
		change.Error = why
	}
	if !isWhy(change.Error) {
		return refuseChange(illegal(fmt.Sprintf("the error is not one line of at most %d bytes", maxWhy)))
	}
	doc, found, err := s.runs.change(change, s.clock())
	switch {
	case err != nil:
		return refuseChange(err)
	case !found:
		return noRun()
	}
	return reply(200, doc)
}
