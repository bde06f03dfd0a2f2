package standin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"carl.camp/carl/host/private"
)

const (
	runIDField = "X-Carl-Slime-Run-Id"
	// maxResonant bounds a resonant: what fits on the disk of a laptop.
	maxResonant = 16 << 30
	// arriving is what the file of a resonant that still comes is called.
	arriving = ".arriving-"
	// streamChunk is how much of a body is read at once.
	streamChunk = 256 << 10
)

// resonantDoc is the answer to one that is held.
type resonantDoc struct {
	ResonantID string `json:"resonant_id"`
}

// postResonant takes the bytes of a resonant as they come.
func (s *Server) postResonant(c *call) answer {
	refused := func(status int, code, message string) answer {
		c.unread = true
		return refuse(status, code, message)
	}
	if !c.contentType("application/octet-stream") {
		return refused(415, "unsupported_media_type", "the body must be application/octet-stream")
	}
	key := c.idempotencyKey()
	if key == "" && len(c.Header["Idempotency-Key"]) > 0 {
		return refused(422, "invalid_idempotency_key", keyText)
	}
	runID, problem := c.runID()
	switch {
	case problem != "":
		return refused(422, "invalid_run_id", problem)
	case runID != "" && !s.runs.has(runID):
		return refused(404, "not_found", "there is no such run")
	case c.ContentLength < 0:
		return refused(411, "length_required", "there must be a Content-Length")
	case c.ContentLength == 0:
		return refused(422, "empty", "a resonant has at least one byte")
	case c.ContentLength > s.maxResonant:
		return refused(413, "too_large", fmt.Sprintf("the resonant is larger than %d bytes", s.maxResonant))
	}
	came, err := s.runs.receive(c)
	if err != nil {
		var cut *cutOff
		if errors.As(err, &cut) {
			return refuse(400, "incomplete", "the body did not arrive whole").with("Connection", "close")
		}
		return refused(500, "storage", "the resonant could not be stored")
	}
	came.RunID, came.Key, came.Received = runID, key, s.clock().UTC().Format(time.RFC3339Nano)
	held, created, err := s.runs.keep(came)
	if err != nil {
		return refuseRun(err)
	}
	status := 200
	if created {
		status = 201
	}
	a := reply(status, resonantDoc{held.ResonantID})
	say := func(doc any) func() answer {
		return func() answer { return reply(status, doc) }
	}
	a.lies = []func() answer{
		say(struct{}{}),
		say(resonantDoc{""}),
		say(resonantDoc{strings.Repeat("a", 200)}),
		say(struct {
			ResonantID int `json:"resonant_id"`
		}{1}),
	}
	return a
}

// runID returns the run that the request names, "" for none.
func (c *call) runID() (id, problem string) {
	fields := c.Header[runIDField]
	switch {
	case len(fields) == 0:
		return "", ""
	case len(fields) > 1 || !isUUID(fields[0]):
		return "", runIDField + " is not one UUID in lowercase"
	}
	return fields[0], ""
}

// cutOff is a body that ended before it should.
type cutOff struct{ error }

// arrived is a resonant whose bytes are here, and which nobody was told of yet.
type arrived struct {
	heldResonant
	file string // "" without a data folder
}

// receive reads a body, and keeps it in a file of its own, durably, where there
// is a data folder.
func (s *runStore) receive(c *call) (*arrived, error) {
	a := &arrived{}
	if s.dir == "" {
		return a, a.copy(c, io.Discard)
	}
	if err := private.MkdirAll(s.dir); err != nil {
		return nil, err
	}
	var name [8]byte
	rand.Read(name[:]) // never fails
	a.file = filepath.Join(s.dir, arriving+hex.EncodeToString(name[:]))
	f, err := os.OpenFile(a.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err = a.copy(c, f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(a.file)
	}
	return a, err
}

// copy reads the body into w, and notes its size and hash.
func (a *arrived) copy(c *call, w io.Writer) error {
	sum := sha256.New()
	buf := make([]byte, streamChunk)
	for {
		c.extend()
		n, end := c.Body.Read(buf)
		sum.Write(buf[:n])
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		a.Size += int64(n)
		switch {
		case end == io.EOF:
			a.SHA256 = hex.EncodeToString(sum.Sum(nil))
			return nil
		case end != nil:
			return &cutOff{end}
		}
	}
}

// keep makes what arrived a resonant, durably, or finds the one that came under
// its key. Errors are a *refusalError, or of the file.
func (s *runStore) keep(a *arrived) (held heldResonant, created bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		// After a failed flush, nobody knows whether the line is there.
		if !created && a.file != "" && s.lines.broken == nil {
			os.Remove(a.file)
		}
	}()
	if known := s.pubByKey[a.Key]; a.Key != "" && known != nil {
		if known.SHA256 != a.SHA256 || known.RunID != a.RunID {
			return held, false, errOtherBody
		}
		return *known, false, nil
	}
	if len(s.published) >= s.resonants {
		return held, false, &refusalError{403, "too_many_resonants", fmt.Sprintf("there are %d resonants, which is all that an account may have", s.resonants)}
	}
	kept := a.heldResonant
	kept.ResonantID = newUUID()
	if a.file != "" {
		// The file has its name before the line says so: tidy removes what has none.
		name := filepath.Join(s.dir, kept.ResonantID)
		if err := os.Rename(a.file, name); err != nil {
			return held, false, err
		}
		a.file = name
		if err := private.OS().SyncDir(s.dir); err != nil {
			return held, false, err
		}
	}
	line, _ := runLine{Resonant: &kept}.line()
	if err := s.write(line); err != nil {
		return held, false, err
	}
	s.publish(&kept)
	return kept, true, nil
}

// tidy removes the files of resonants that nobody was told of.
func (s *runStore) tidy() error {
	list, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), arriving) || isUUID(e.Name()) && s.published[e.Name()] == nil {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *runStore) has(runID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[runID] != nil
}

// Resonant is what is known of a resonant that is held.
type Resonant struct {
	ResonantID string `json:"resonant_id"`
	// RunID is the run that it was published of, or "".
	RunID string `json:"run_id,omitzero"`
	// SHA256 is of its bytes, in hex, and Size how many they are.
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	// Received is when it came, in RFC 3339.
	Received string `json:"received"`
}

// Resonant returns what is known of a resonant. With a data folder its bytes
// are the file of that name in the folder resonants; without one nobody has them.
func (s *Server) Resonant(id string) (Resonant, bool) {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	d := s.runs.published[id]
	if d == nil {
		return Resonant{}, false
	}
	return Resonant{d.ResonantID, d.RunID, d.SHA256, d.Size, d.Received}, true
}

func (s *Server) getResonant(c *call) answer {
	doc, found := s.Resonant(c.rest)
	if !found {
		return refuse(404, "not_found", "there is no such resonant")
	}
	return reply(200, doc)
}
