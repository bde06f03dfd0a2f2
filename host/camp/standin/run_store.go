package standin

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	// maxRuns and maxResonants bound what one account may have.
	maxRuns      = 1000
	maxResonants = 1000
	// maxRunLine bounds a line of runs.jsonl: a payload and what stands around it.
	maxRunLine = maxPayload + 4<<10
)

// runStore holds the runs and what is known of the resonants. With a file, all
// of it is in runs.jsonl, a line for each thing that happened:
//
//	{"run":{"run_id":"<uuid>","idempotency_key":"…","received":"<time>","takes":"6s"},"payload":{…}}
//	{"set":{"run_id":"<uuid>","at":"<time>","do":"state","state":"failed","error":"…"}}
//	{"resonant":{"resonant_id":"<uuid>","run_id":"<uuid>","idempotency_key":"…","received":"<time>","sha256":"<hex>","size":12}}
//
// What a run does by itself is in none of them: it follows from the clock.
type runStore struct {
	// runs and resonants bound how many there may be; tests have them smaller.
	runs, resonants int

	mu        sync.Mutex
	byID      map[string]*heldRun      // guarded by mu
	byKey     map[string]*heldRun      // guarded by mu
	order     []*heldRun               // guarded by mu; as they came
	published map[string]*heldResonant // guarded by mu; by id
	pubByKey  map[string]*heldResonant // guarded by mu
	lines     *appendFile              // guarded by mu; nil without a file
	dir       string                   // where the resonants are; "" without files

	// takes is how long a run that comes now will take. It ends with the process.
	takes time.Duration // guarded by mu
}

// runLine is a line of the file.
type runLine struct {
	Run      *runBegun      `json:"run,omitzero"`
	Set      *runChange     `json:"set,omitzero"`
	Resonant *heldResonant  `json:"resonant,omitzero"`
	Payload  jsontext.Value `json:"payload,omitzero"`
}

type runBegun struct {
	RunID    string `json:"run_id"`
	Key      string `json:"idempotency_key"`
	Received string `json:"received"`
	Takes    string `json:"takes"`
}

// What can be done to a run.
const (
	doHold    = "hold"    // it stays as it is
	doRelease = "release" // it goes on where it was
	doState   = "state"   // it has this state, whatever the clock says
)

type runChange struct {
	RunID string `json:"run_id"`
	At    string `json:"at"`
	Do    string `json:"do"`
	State string `json:"state,omitzero"`
	Error string `json:"error,omitzero"`
}

type heldResonant struct {
	ResonantID string `json:"resonant_id"`
	RunID      string `json:"run_id,omitzero"`
	Key        string `json:"idempotency_key,omitzero"`
	Received   string `json:"received"`
	SHA256     string `json:"sha256"`
	Size       int64  `json:"size"`
}

// heldRun is one run.
type heldRun struct {
	runBegun
	sum   digest
	steps int64
	takes time.Duration
	// start is when it would have begun, had it never been held.
	start time.Time
	// held says that the clock does not count, and done how much of it had.
	held bool
	done time.Duration
	// state is what it was set to, "" for what the clock says, and why its error.
	state, why string
	resonant   string
	body       []byte // nil with a file
	at         int64  // where the body is in the file
	length     int
}

func newRunStore() *runStore {
	return &runStore{
		runs: maxRuns, resonants: maxResonants,
		byID: map[string]*heldRun{}, byKey: map[string]*heldRun{},
		published: map[string]*heldResonant{}, pubByKey: map[string]*heldResonant{},
		takes: defaultRunTime,
	}
}

// openRunStore reads what is there. A last line without its end was never
// acknowledged, and is cut.
func openRunStore(dir string) (*runStore, error) {
	s := newRunStore()
	var err error
	if s.lines, err = openAppendFile(filepath.Join(dir, "runs.jsonl")); err != nil {
		return nil, fault.New(fault.IO, "stand-in: %w", err)
	}
	s.dir = filepath.Join(dir, "resonants")
	err = s.load()
	if err == nil {
		err = s.tidy()
	}
	if err == nil {
		err = private.OS().SyncDir(dir)
	}
	if err != nil {
		s.lines.file.Close()
		return nil, fault.New(fault.IO, "stand-in: %w", err).
			WithKept("the file was left as it is").
			WithHint("mend the file, or move runs.jsonl and the folder resonants away together")
	}
	return s, nil
}

func (s *runStore) load() error {
	lines := s.lines.reader(maxRunLine)
	for n := 1; ; n++ {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = s.restore(line, lines.size)
		}
		if err != nil {
			return fmt.Errorf("line %d of %s is damaged: %w", n, s.lines.file.Name(), err)
		}
		lines.take()
	}
	s.lines.size = lines.size
	return s.lines.cut()
}

// restore takes a line that was written before.
func (s *runStore) restore(line []byte, at int64) error {
	var l runLine
	if json.Unmarshal(line, &l, json.RejectUnknownMembers(true)) != nil {
		return errors.New("it is not one of these lines")
	}
	if again, _ := l.line(); !bytes.Equal(again, append(bytes.Clone(line), '\n')) {
		return errors.New("it is not in the form in which it was written")
	}
	switch {
	case l.Run != nil && l.Set == nil && l.Resonant == nil && l.Payload != nil:
		takes, err := time.ParseDuration(l.Run.Takes)
		received, ok := stamp(l.Run.Received)
		if l.Payload.Kind() != '{' || err != nil || takes < 0 || !ok || !isUUID(l.Run.RunID) || !isKey(l.Run.Key) || s.byID[l.Run.RunID] != nil || s.byKey[l.Run.Key] != nil {
			return errors.New("the run is none, or is there twice")
		}
		_, from := l.line()
		s.hold(&heldRun{runBegun: *l.Run, sum: sumOf(l.Payload), steps: stepsOf(l.Payload), takes: takes, start: received, at: at + int64(from), length: len(l.Payload)})
	case l.Set != nil && l.Run == nil && l.Resonant == nil && l.Payload == nil:
		r := s.byID[l.Set.RunID]
		when, ok := stamp(l.Set.At)
		if r == nil || !ok || !r.apply(l.Set, when) {
			return errors.New("the change is none, or is of no run")
		}
	case l.Resonant != nil && l.Run == nil && l.Set == nil && l.Payload == nil:
		d := l.Resonant
		_, ok := stamp(d.Received)
		if !ok || !isUUID(d.ResonantID) || s.published[d.ResonantID] != nil || !isHex(d.SHA256, 64) || d.Size <= 0 ||
			d.RunID != "" && s.byID[d.RunID] == nil || d.Key != "" && (!isKey(d.Key) || s.pubByKey[d.Key] != nil) {
			return errors.New("the resonant is none, is there twice, or is of no run")
		}
		s.publish(d)
	default:
		return errors.New("it is not one of these lines")
	}
	return nil
}

// line is the one form in which l is written, with a line end, and where in it
// the payload begins.
func (l runLine) line() (line []byte, payloadAt int) {
	payload := l.Payload
	l.Payload = nil
	line, err := json.Marshal(l, json.Deterministic(true))
	if err != nil {
		// Its texts are this package's own, or were read as valid UTF-8.
		panic(err)
	}
	if payload != nil {
		line = append(line[:len(line)-1], `,"payload":`...)
		payloadAt = len(line)
		line = append(append(line, payload...), '}')
	}
	return append(line, '\n'), payloadAt
}

func (s *runStore) hold(r *heldRun) {
	s.byID[r.RunID], s.byKey[r.Key] = r, r
	s.order = append(s.order, r)
}

func (s *runStore) publish(d *heldResonant) {
	s.published[d.ResonantID] = d
	if d.Key != "" {
		s.pubByKey[d.Key] = d
	}
	if r := s.byID[d.RunID]; r != nil {
		r.resonant = d.ResonantID
	}
}

// write makes a line durable, or leaves the file as it was.
func (s *runStore) write(line []byte) error {
	if s.lines == nil {
		return nil
	}
	return s.lines.add(line)
}

// refusalError is why something was not kept that another state of the account would have.
type refusalError struct {
	status        int
	code, message string
}

func (e *refusalError) Error() string { return e.message }

var errOtherBody = &refusalError{409, "idempotency_conflict", "another body came under this Idempotency-Key"}

// known returns the run that was begun under a key, or nil. The error is a *refusalError.
func (s *runStore) known(key string, sum digest) (*runBegun, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(key, sum)
}

// find is known, for who has the lock.
func (s *runStore) find(key string, sum digest) (*runBegun, error) {
	r := s.byKey[key]
	switch {
	case r == nil:
		return nil, nil
	case r.sum != sum:
		return nil, errOtherBody
	}
	begun := r.runBegun
	return &begun, nil
}

// begin begins a run, durably, or finds the one that was begun under the key.
// Errors are a *refusalError, or of the file.
func (s *runStore) begin(key string, body []byte, steps int64, now time.Time) (begun runBegun, created bool, err error) {
	sum := sumOf(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, err := s.find(key, sum); b != nil || err != nil {
		if b != nil {
			begun = *b
		}
		return begun, false, err
	}
	if len(s.order) >= s.runs {
		return begun, false, &refusalError{403, "too_many_runs", fmt.Sprintf("there are %d runs, which is all that an account may have", s.runs)}
	}
	r := &heldRun{
		runBegun: runBegun{RunID: newUUID(), Key: key, Received: now.UTC().Format(time.RFC3339Nano), Takes: s.takes.String()},
		sum:      sum,
		steps:    steps,
		takes:    s.takes,
		start:    now,
		length:   len(body),
	}
	if s.lines == nil {
		r.body = bytes.Clone(body)
	} else {
		line, at := runLine{Run: &r.runBegun, Payload: oneLine(body)}.line()
		r.at = s.lines.size + int64(at)
		if err := s.write(line); err != nil {
			return begun, false, err
		}
	}
	s.hold(r)
	return r.runBegun, true, nil
}

// oneLine puts spaces in place of line feeds, which valid JSON has between its
// tokens and nowhere else.
func oneLine(body []byte) []byte {
	line := bytes.Clone(body)
	for i, c := range line {
		if c == '\n' || c == '\r' {
			line[i] = ' '
		}
	}
	return bytes.TrimSpace(line)
}

// change changes a run, durably. ok is whether there is such a run.
func (s *runStore) change(c runChange, now time.Time) (doc runDoc, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.byID[c.RunID]
	if r == nil {
		return doc, false, nil
	}
	c.At = now.UTC().Format(time.RFC3339Nano)
	again := *r
	if !again.apply(&c, now) {
		return doc, true, illegal("there is no such change")
	}
	line, _ := runLine{Set: &c}.line()
	if err := s.write(line); err != nil {
		return doc, true, err
	}
	*r = again
	return r.doc(now), true, nil
}

// apply changes r, and reports whether there is such a change.
func (r *heldRun) apply(c *runChange, now time.Time) bool {
	done := r.elapsed(now)
	switch c.Do {
	case doHold:
	case doRelease:
		r.state, r.why = "", ""
		r.held, r.start = false, now.Add(-done)
		return c.State == "" && c.Error == ""
	case doState:
		if !isState(c.State) || !isWhy(c.Error) {
			return false
		}
		r.state, r.why = c.State, c.Error
	default:
		return false
	}
	r.held, r.done = true, done
	return c.Do == doState || c.State == "" && c.Error == ""
}

// elapsed is how much of its time the run has had.
func (r *heldRun) elapsed(now time.Time) time.Duration {
	if r.held {
		return r.done
	}
	return min(max(now.Sub(r.start), 0), r.takes)
}

// runDoc is a run in an answer.
type runDoc struct {
	RunID      string   `json:"run_id"`
	Status     string   `json:"status"`
	Progress   *float64 `json:"progress,omitzero"`
	Step       *int64   `json:"step,omitzero"`
	TotalSteps *int64   `json:"total_steps,omitzero"`
	ResonantID string   `json:"resonant_id,omitzero"`
	Error      string   `json:"error,omitzero"`
}

// doc says how the run is: for a sixth of its time it is queued.
func (r *heldRun) doc(now time.Time) runDoc {
	d := runDoc{RunID: r.RunID, ResonantID: r.resonant, Error: r.why, Status: r.state}
	done, waits := r.elapsed(now), r.takes/6
	if d.Status == "" {
		switch {
		case done >= r.takes:
			d.Status = "succeeded"
		case done >= waits:
			d.Status = "running"
		default:
			d.Status = "queued"
		}
	}
	if d.Status == "queued" {
		return d
	}
	step := r.steps
	if d.Status != "succeeded" && r.takes > waits {
		step = int64(float64(r.steps) * float64(max(done-waits, 0)) / float64(r.takes-waits))
	}
	progress := float64(step) / float64(r.steps)
	d.Step, d.TotalSteps, d.Progress = &step, &r.steps, &progress
	return d
}

// get says how a run is.
func (s *runStore) get(id string, now time.Time) (runDoc, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.byID[id]
	if r == nil {
		return runDoc{}, false
	}
	return r.doc(now), true
}

// list says how up to limit runs are, the newest first.
func (s *runStore) list(limit int, now time.Time) []runDoc {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []runDoc{}
	for i := len(s.order) - 1; i >= 0 && len(list) < limit; i-- {
		list = append(list, s.order[i].doc(now))
	}
	return list
}

// payload returns what a run was submitted with.
func (s *runStore) payload(id string) (body []byte, found bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.byID[id]
	switch {
	case r == nil:
		return nil, false, nil
	case s.lines == nil:
		return r.body, true, nil
	}
	body = make([]byte, r.length)
	_, err = s.lines.file.ReadAt(body, r.at)
	return body, true, err
}

func (s *runStore) count() (runs, resonants int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.order), len(s.published)
}

// setTakes says how long the runs take that come from now on.
func (s *runStore) setTakes(d time.Duration) error {
	if d < 0 || d > maxSpan {
		return illegal(fmt.Sprintf("%v is not a duration from 0s to %v", d, maxSpan))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes = d
	return nil
}

func (s *runStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines == nil {
		return nil
	}
	return s.lines.close()
}

// newUUID is a random UUID (RFC 9562 §5.4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// isUUID accepts a UUID in lowercase.
func isUUID(s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
		isHex(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:], 32)
}

// stamp reads a time in the one form in which this file has it.
func stamp(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil && t.UTC().Format(time.RFC3339Nano) == s
}
