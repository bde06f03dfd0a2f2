package camp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
)

const (
	// runIDField says which run a resonant is of.
	runIDField = "X-Carl-Slime-Run-Id"
	// maxStatus bounds the state of a run; the longest known has 9 bytes.
	maxStatus = 64
	// maxResonantID bounds the id of a resonant, in bytes of visible ASCII.
	maxResonantID = 128
	// maxIdempotencyKey bounds such a key, in bytes of visible ASCII.
	maxIdempotencyKey = 128
	// maxRunList bounds the list of runs, in bytes: it has at most 100, and the
	// text of an error, all of it escaped, makes 2 KiB of each.
	maxRunList = 1 << 20
)

// What the calls expect, in words of API.md.
const (
	wantStarted  = `{"run_id":"<uuid>","status":"<state>"}`
	wantRun      = `{"run_id":"<uuid>","status":"<state>"} with the run that was asked for, and progress from 0 to 1`
	wantRuns     = `{"runs":[{"run_id":"<uuid>","status":"<state>"}]}, each run once`
	wantResonant = `{"resonant_id":"<id>"}`
)

// Run is a managed training run, as the platform tells of it.
type Run struct {
	// ID is a UUID in lowercase.
	ID string
	// Status is queued, running, succeeded, failed or cancelled, or another
	// state that carl does not know: one line of at most 64 bytes.
	Status string
	// Progress is how much is done, from 0 to 1; nil where that is not known.
	Progress *float64
	// Step and TotalSteps are not negative; nil where they are not known.
	Step, TotalSteps *int64
	// ResonantID is what came of the run, "" until it is published: at most 128
	// characters of visible ASCII.
	ResonantID string
	// Error says why the run failed: the platform's words, cleaned of control
	// characters and bounded.
	Error string
	// RetryAfter is how long the platform asks not to be asked again, at most an
	// hour; 0 where it does not say.
	RetryAfter time.Duration
}

// Ended reports whether the run will not change any more: it succeeded, failed
// or was cancelled. A state that is not known counts as running.
func (r Run) Ended() bool {
	return r.Status == "succeeded" || r.Status == "failed" || r.Status == "cancelled"
}

// ParseRunID reads the id of a run, a UUID of either letter case, and returns it
// in lowercase. The error is a *[fault.Error] with code [fault.Usage].
func ParseRunID(s string) (string, error) {
	id := fold(s)
	if !isUUID(id) {
		return "", fault.New(fault.Usage, "%.80q is not the id of a run, which is a UUID such as 8f14e45f-ceea-467f-a8d9-2d5b1a6c9e10", s)
	}
	return id, nil
}

// isUUID accepts the text form of RFC 9562 §4, in lowercase.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// visible accepts 1 to most characters of visible ASCII.
func visible(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' })
}

// ValidKey reports whether an idempotency key is one: 1 to 128 characters of visible
// ASCII.
func ValidKey(key string) bool { return visible(key, maxIdempotencyKey) }

func checkKey(key string) error {
	if !ValidKey(key) {
		return fault.New(fault.Usage, "an idempotency key is 1 to %d characters of visible ASCII", maxIdempotencyKey)
	}
	return nil
}

// SubmitRun starts a managed training run, or finds the one that was started
// under this key before, for which created is false. body is a payload as
// API.md has it, and is sent as it is. The key is 1 to 128 characters of
// visible ASCII.
//
// One call is one request, of at most ten seconds, and no redirect is followed:
// when and how often to try again is the caller's to say. The error is a
// *[CallError], whose Definite says whether the run may have been started, or a
// *[fault.Error] with code [fault.Usage] for the key.
func (c *Client) SubmitRun(ctx context.Context, body []byte, key string) (run Run, created bool, err error) {
	if err := checkKey(key); err != nil {
		return Run{}, false, err
	}
	o := order{
		method: http.MethodPost,
		path:   c.paths.Runs,
		header: http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {key}},
		body:   bytes.NewReader(body),
		size:   int64(len(body)),
		limit:  maxAnswer,
		good:   []int{http.StatusOK, http.StatusCreated},
	}
	answer, failed := c.call(ctx, o)
	if failed != nil {
		return Run{}, false, failed
	}
	run, err = c.readRun(answer.body, "")
	if err != nil {
		return Run{}, false, c.unexpected(o, answer.status, err, wantStarted)
	}
	run.RetryAfter = answer.retryAfter
	return run, answer.status == http.StatusCreated, nil
}

// Run asks how a run is. The error is a *[CallError], with [FailNotFound] where
// the platform knows no such run, or a *[fault.Error] with code [fault.Usage]
// for an id that is no UUID.
func (c *Client) Run(ctx context.Context, id string) (Run, error) {
	id, err := ParseRunID(id)
	if err != nil {
		return Run{}, err
	}
	o := order{method: http.MethodGet, limit: maxAnswer, good: []int{http.StatusOK}}
	if validPath(c.paths.Runs) {
		o.path = c.paths.Runs + "/" + id
	}
	answer, failed := c.call(ctx, o)
	if failed != nil {
		return Run{}, failed
	}
	run, err := c.readRun(answer.body, id)
	if err != nil {
		return Run{}, c.unexpected(o, answer.status, err, wantRun)
	}
	run.RetryAfter = answer.retryAfter
	return run, nil
}

// Runs asks for the account's runs, in the platform's order: the newest first,
// and not all where there are many. The error is a *[CallError].
func (c *Client) Runs(ctx context.Context) ([]Run, error) {
	o := order{method: http.MethodGet, path: c.paths.Runs, limit: maxRunList, good: []int{http.StatusOK}}
	answer, failed := c.call(ctx, o)
	if failed != nil {
		return nil, failed
	}
	runs, err := c.readRuns(answer.body)
	if err != nil {
		return nil, c.unexpected(o, answer.status, err, wantRuns)
	}
	return runs, nil
}

// runDoc is a run in an answer. Members that are not here are ignored.
type runDoc struct {
	RunID      string   `json:"run_id"`
	Status     string   `json:"status"`
	Progress   *float64 `json:"progress"`
	Step       *int64   `json:"step"`
	TotalSteps *int64   `json:"total_steps"`
	ResonantID *string  `json:"resonant_id"`
	Error      string   `json:"error"`
}

var errNotOneObject = errors.New("it is not one JSON object with members of these types")

func (c *Client) readRun(text []byte, want string) (Run, error) {
	var doc runDoc
	if json.Unmarshal(text, &doc) != nil || !isObject(text) {
		return Run{}, errNotOneObject
	}
	run, err := c.run(doc)
	if err == nil && want != "" && run.ID != want {
		return Run{}, errors.New("run_id is another one")
	}
	return run, err
}

func (c *Client) readRuns(text []byte) ([]Run, error) {
	var doc struct {
		Runs *[]runDoc `json:"runs"`
	}
	if json.Unmarshal(text, &doc) != nil || !isObject(text) || doc.Runs == nil {
		return nil, errNotOneObject
	}
	runs := make([]Run, 0, len(*doc.Runs))
	seen := map[string]bool{}
	for i, d := range *doc.Runs {
		run, err := c.run(d)
		if err == nil && seen[run.ID] {
			err = errors.New("run_id is there twice")
		}
		if err != nil {
			return nil, fmt.Errorf("runs/%d: %w", i, err)
		}
		seen[run.ID] = true
		runs = append(runs, run)
	}
	return runs, nil
}

// isObject tells an object from null, which can be unmarshalled into one.
func isObject(text []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) }

// run holds what an answer says of a run against API.md. The error holds no
// part of the answer.
func (c *Client) run(doc runDoc) (Run, error) {
	run := Run{ID: fold(doc.RunID), Status: doc.Status, Progress: doc.Progress, Step: doc.Step, TotalSteps: doc.TotalSteps}
	switch {
	case !isUUID(run.ID):
		return Run{}, errors.New("run_id is not a UUID")
	case !isStatus(doc.Status) || c.scrub(doc.Status) != doc.Status:
		return Run{}, fmt.Errorf("status is not one line of 1 to %d bytes", maxStatus)
	case doc.Progress != nil && !(*doc.Progress >= 0 && *doc.Progress <= 1):
		return Run{}, errors.New("progress is not from 0 to 1")
	case doc.Step != nil && *doc.Step < 0, doc.TotalSteps != nil && *doc.TotalSteps < 0:
		return Run{}, errors.New("step or total_steps is negative")
	}
	if doc.ResonantID != nil {
		id, err := c.resonantID(*doc.ResonantID)
		if err != nil {
			return Run{}, err
		}
		run.ResonantID = id
	}
	run.Error = c.scrub(clean(doc.Error))
	return run, nil
}

func (c *Client) resonantID(id string) (string, error) {
	if !visible(id, maxResonantID) || c.scrub(id) != id {
		return "", fmt.Errorf("resonant_id is not 1 to %d characters of visible ASCII", maxResonantID)
	}
	return id, nil
}

// isStatus accepts what can stand in a line of a terminal as it is.
func isStatus(s string) bool {
	return s != "" && len(s) <= maxStatus && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
