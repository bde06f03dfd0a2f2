package standin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// maxLine bounds a line of signals.jsonl: an event and what stands around it.
const maxLine = axon.MaxEvent + 256

// signalStore holds the signals: the first body that came under each id. With
// a file, the bodies are there, one line each,
//
//	{"received":"2026-11-23T01:02:03.456789Z","event":{…}}
//
// and only where they are is in memory.
type signalStore struct {
	mu    sync.Mutex
	held  map[string]*heldSignal // guarded by mu
	order []*heldSignal          // guarded by mu; as they arrived
	file  *os.File               // guarded by mu; nil without a file
	size  int64                  // guarded by mu; of the file
	sync  func(*os.File) error
	// broken is why the file takes nothing more. After a failed fsync nobody
	// knows what is on disk, and asking again would be told a lie.
	broken error // guarded by mu
}

type heldSignal struct {
	id, typ string
	sum     digest
	body    []byte // nil with a file
	at      int64  // where the body is in the file
	length  int
}

func newSignalStore() *signalStore {
	return &signalStore{held: map[string]*heldSignal{}, sync: (*os.File).Sync}
}

// openSignalStore reads what is there. A last line without its end was never
// acknowledged, and is cut.
func openSignalStore(path string) (*signalStore, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.New(fault.IO, "stand-in: %w", err)
	}
	s := newSignalStore()
	s.file = f
	err = s.load(f)
	if err == nil {
		// The name must be as durable as what will be acknowledged under it.
		err = private.OS().SyncDir(filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, fault.New(fault.IO, "stand-in: %s: %w", path, err).WithHint("move the file away, or mend it")
	}
	return s, nil
}

func (s *signalStore) load(f *os.File) error {
	r := bufio.NewReaderSize(f, maxLine+1)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if err == io.EOF {
			if len(line) > 0 {
				return f.Truncate(s.size)
			}
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		e, at, ok := parseLine(line)
		if err != nil || !ok || s.held[e.id] != nil {
			return fmt.Errorf("line %d is damaged", n)
		}
		s.hold(&heldSignal{id: e.id, typ: e.typ, sum: e.sum, at: s.size + int64(at), length: len(e.body)})
		s.size += int64(len(line))
	}
}

// parseLine reads one line of the file and says where in it the event is.
func parseLine(line []byte) (e event, at int, ok bool) {
	var doc struct {
		Received time.Time      `json:"received"`
		Event    jsontext.Value `json:"event"`
	}
	if json.Unmarshal(line, &doc, json.RejectUnknownMembers(true)) != nil || doc.Event.Kind() != '{' {
		return event{}, 0, false
	}
	e, _, problem := parseEvent(doc.Event)
	at = bytes.Index(line, doc.Event)
	return e, at, problem == "" && e.problem == "" && at >= 0
}

func (s *signalStore) hold(h *heldSignal) {
	s.held[h.id] = h
	s.order = append(s.order, h)
}

// put keeps the events that are new and says of each what became of it, in
// order. On an error none of them is held.
func (s *signalStore) put(events []event, now time.Time) ([]verdict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	verdicts := make([]verdict, len(events))
	fresh := map[string]*heldSignal{}
	var order []*heldSignal
	var lines []byte
	for i, e := range events {
		v := verdict{id: e.id, came: e.sum}
		known := s.held[e.id]
		if known == nil {
			known = fresh[e.id]
		}
		switch {
		case e.problem != "":
			v.kind = rejected
		case known == nil:
			v.kind = accepted
			h := &heldSignal{id: e.id, typ: e.typ, sum: e.sum, length: len(e.body)}
			if s.file == nil {
				h.body = e.body
			} else {
				lines, h.at = appendLine(lines, s.size, e.body, now)
			}
			fresh[e.id] = h
			order = append(order, h)
		case known.sum == e.sum:
			v.kind = duplicate
		default:
			v.kind, v.held = conflict, known.sum
		}
		verdicts[i] = v
	}
	if err := s.write(lines); err != nil {
		return nil, err
	}
	for _, h := range order {
		s.hold(h)
	}
	return verdicts, nil
}

// appendLine adds a line to lines, which will be written at start, and says
// where in the file its event will be.
func appendLine(lines []byte, start int64, body []byte, now time.Time) ([]byte, int64) {
	lines = append(lines, `{"received":"`...)
	lines = now.UTC().AppendFormat(lines, time.RFC3339Nano)
	lines = append(lines, `","event":`...)
	from := len(lines)
	lines = append(lines, body...)
	// The event may have line feeds between its tokens, and only there.
	for i := from; i < len(lines); i++ {
		if lines[i] == '\n' || lines[i] == '\r' {
			lines[i] = ' '
		}
	}
	return append(lines, '}', '\n'), start + int64(from)
}

// write makes lines durable, or leaves the file as it was.
func (s *signalStore) write(lines []byte) error {
	if len(lines) == 0 || s.file == nil {
		return nil
	}
	if s.broken != nil {
		return s.broken
	}
	if _, err := s.file.WriteAt(lines, s.size); err != nil {
		if cut := s.file.Truncate(s.size); cut != nil {
			s.broken = errors.New("the file could not be restored after a failed write")
		}
		return errors.New("the file cannot be written")
	}
	if err := s.sync(s.file); err != nil {
		s.broken = errors.New("the file could not be made durable; restart the stand-in")
		return s.broken
	}
	s.size += int64(len(lines))
	return nil
}

// get returns the body of a signal.
func (s *signalStore) get(id string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[id]
	if h == nil {
		return nil, false, nil
	}
	if s.file == nil {
		return h.body, true, nil
	}
	body := make([]byte, h.length)
	_, err := s.file.ReadAt(body, h.at)
	return body, err == nil, err
}

// page returns up to limit signals after the first skip.
func (s *signalStore) page(skip, limit int) []*heldSignal {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := min(skip, len(s.order))
	return s.order[from : from+min(limit, len(s.order)-from)]
}

// types counts what is held.
func (s *signalStore) types() (total int, byType map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	byType = map[string]int{}
	for _, h := range s.order {
		byType[h.typ]++
	}
	return len(s.order), byType
}

func (s *signalStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil || s.broken == errClosed {
		return nil
	}
	s.broken = errClosed
	return s.file.Close()
}

var errClosed = errors.New("the stand-in is closed")
