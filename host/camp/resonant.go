package camp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
)

// idleTimeout ends an upload of which nothing moves any more, and the wait for
// the answer after it. It takes the place of callTimeout: a checkpoint has many
// gigabytes.
const idleTimeout = time.Minute

var (
	errShrank = errors.New("it has fewer bytes than it had when it was opened")
	errGrew   = errors.New("it has more bytes than it had when it was opened")
	errOver   = errors.New("the call is over")
)

// PublishResonant sends the size bytes of r to the platform, which keeps them
// as a resonant, and returns its id, at most 128 characters of visible ASCII.
// runID, a UUID, names the training run that it is of; "" names none. Under a
// key of 1 to 128 characters of visible ASCII the same bytes become one
// resonant however often they are sent; "" is no key.
//
// progress, which may be nil, is told how many bytes have been taken to be
// sent, from another goroutine, one call after the other. Neither it nor r is
// used after the return, which a read of r that is under way is waited for.
//
// There is no bound on the time that it takes, except that a minute in which
// nothing moves ends it. One call is one request, no redirect is followed, and
// an r of another size than size is not taken for a resonant. The error is a
// *[CallError], with [FailSource] where it is r's, or a *[fault.Error] with
// code [fault.Usage] for another argument.
func (c *Client) PublishResonant(ctx context.Context, r io.Reader, size int64, runID, key string, progress func(sent int64)) (resonantID string, err error) {
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	if runID != "" {
		if runID, err = ParseRunID(runID); err != nil {
			return "", err
		}
		header[runIDField] = []string{runID}
	}
	if key != "" {
		if err := checkKey(key); err != nil {
			return "", err
		}
		header["Idempotency-Key"] = []string{key}
	}
	if size < 0 {
		return "", fault.New(fault.Usage, "a resonant has no size of %d bytes", size)
	}
	within, cancel := context.WithCancelCause(context.WithValue(ctx, patience{}, true))
	defer cancel(nil)
	stalled := time.AfterFunc(c.idle, func() { cancel(fmt.Errorf("took nothing more, and gave no complete answer, in %s", c.idle)) })
	defer stalled.Stop()
	s := &source{r: r, left: size, moved: func(sent int64) {
		stalled.Reset(c.idle)
		if progress != nil {
			progress(sent)
		}
	}}
	defer s.end()
	if size == 0 {
		s.err = s.rest() // nobody will read it
	}
	o := order{
		method: http.MethodPost,
		path:   c.paths.Resonants,
		header: header,
		body:   s,
		size:   size,
		limit:  maxAnswer,
		good:   []int{http.StatusOK, http.StatusCreated},
	}
	if s.err != nil {
		return "", unreadable(s.err)
	}
	answer, failed := c.exchange(ctx, within, o)
	if failed != nil {
		if err := s.end(); err != nil && failed.Failure == FailNetwork {
			// The platform got less than was announced, which is nothing.
			return "", unreadable(err)
		}
		return "", failed
	}
	var doc struct {
		ResonantID string `json:"resonant_id"`
	}
	err = errNotOneObject
	if json.Unmarshal(answer.body, &doc) == nil && isObject(answer.body) {
		resonantID, err = c.resonantID(doc.ResonantID)
	}
	if err != nil {
		return "", c.unexpected(o, answer.status, err, wantResonant)
	}
	return resonantID, nil
}

func unreadable(err error) *CallError {
	return &CallError{Failure: FailSource, Definite: true, text: "what was to be published could not be read: " + err.Error(), cause: err}
}

// source is the body of an upload. The transport may read it after its call
// has returned.
type source struct {
	moved func(sent int64)

	mu   sync.Mutex
	r    io.Reader // guarded by mu; nil when the call is over
	left int64     // guarded by mu
	sent int64     // guarded by mu
	err  error     // guarded by mu; why there is no more, where that is r's fault
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.r == nil:
		return 0, errOver
	case s.err != nil:
		return 0, s.err
	case s.left == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	s.sent += int64(n)
	switch {
	case err == io.EOF && s.left > 0:
		s.err = errShrank
	case err != nil && err != io.EOF:
		s.err = err
	case s.left == 0 && err == nil:
		// The last bytes are held back until it is known that they are the last.
		s.err = s.rest()
	}
	if s.err != nil {
		return 0, s.err
	}
	if n > 0 {
		s.moved(s.sent)
	}
	return n, nil
}

// rest checks that nothing follows.
func (s *source) rest() error {
	var one [1]byte
	for range 100 { // as io.MultiReader and bufio bear with empty reads
		n, err := s.r.Read(one[:])
		switch {
		case n > 0:
			return errGrew
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// end ends the use of r, and returns why it gave no more, where that was its fault.
func (s *source) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r = nil
	return s.err
}
