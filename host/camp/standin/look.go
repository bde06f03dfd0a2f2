package standin

import (
	"maps"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/camp"
)

const (
	// maxConflicts bounds how many conflicts are remembered; one is one too many.
	maxConflicts = 1000
	// maxPage is how many lines one look at signals or blocks shows: of signals, 2 MiB.
	maxPage = 10_000
)

// Summary is what a stand-in holds, and, since it was started, what it saw.
type Summary struct {
	Tier    string         `json:"tier"`
	Signals int            `json:"signals"`
	Types   map[string]int `json:"types"`
	// Blocks counts the blocks of all ledgers.
	Blocks int `json:"blocks"`
	// Runs and Resonants count what is held of them.
	Runs      int `json:"runs"`
	Resonants int `json:"resonants"`
	// Duplicates counts events that came again with the same body.
	Duplicates int `json:"duplicates"`
	// Conflicts counts events that came with another body under a known id.
	Conflicts int `json:"conflicts"`
	// Rejected counts events that were refused for good for another reason.
	Rejected int `json:"rejected"`
	Requests int `json:"requests"`
	// Entitlements and JWKS count the requests for the entitlements and for
	// the key set, however they were answered.
	Entitlements int `json:"entitlements"`
	JWKS         int `json:"jwks"`
	// Tokens counts the entitlements that were signed.
	Tokens int `json:"tokens"`
	// Faults counts the faults that were played, by name.
	Faults map[string]int `json:"faults"`
}

// Conflict is the evidence of two bodies under one id.
type Conflict struct {
	ID string `json:"id"`
	// Held and Came are the SHA-256 of the two events, in hex, each without
	// the white space between tokens.
	Held string `json:"held"`
	Came string `json:"came"`
}

// counts is what was seen since the start.
type counts struct {
	mu        sync.Mutex
	requests  int            // guarded by mu
	asked     map[string]int // guarded by mu; calls of the platform's API, by path
	seen      [4]int         // guarded by mu; by verdictKind
	faults    map[string]int // guarded by mu
	conflicts []Conflict     // guarded by mu
}

func newCounts() *counts { return &counts{asked: map[string]int{}, faults: map[string]int{}} }

func (c *counts) ask(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[path]++
}

func (c *counts) request(played string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if played != "" {
		c.faults[played]++
	}
}

func (c *counts) verdicts(list []verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range list {
		c.seen[v.kind]++
		if v.kind == conflict && len(c.conflicts) < maxConflicts {
			c.conflicts = append(c.conflicts, Conflict{v.id, v.held.String(), v.came.String()})
		}
	}
}

// Summary counts what is held and what was seen.
func (s *Server) Summary() Summary {
	total, types := s.signals.types()
	tier, tokens := s.issuer.summary()
	runs, resonants := s.runs.count()
	paths := camp.DefaultPaths()
	c := s.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	return Summary{
		Tier:         tier,
		Signals:      total,
		Types:        types,
		Blocks:       s.ledgers.count(),
		Runs:         runs,
		Resonants:    resonants,
		Duplicates:   c.seen[duplicate],
		Conflicts:    c.seen[conflict],
		Rejected:     c.seen[rejected],
		Requests:     c.requests,
		Entitlements: c.asked[paths.Entitlements],
		JWKS:         c.asked[paths.JWKS],
		Tokens:       tokens,
		Faults:       maps.Clone(c.faults),
	}
}

// IDs returns the ids of the signals that are held, in the order of their arrival.
func (s *Server) IDs() []string {
	all := s.signals.page(0, int(^uint(0)>>1))
	ids := make([]string, len(all))
	for i, h := range all {
		ids[i] = h.id
	}
	return ids
}

// Event returns the body of a signal as it was received, with spaces for the
// line feeds between its tokens where it is kept in a file.
func (s *Server) Event(id string) ([]byte, bool) {
	body, ok, err := s.signals.get(id)
	return body, ok && err == nil
}

// Conflicts returns the first of the conflicts that were seen.
func (s *Server) Conflicts() []Conflict {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	return append([]Conflict{}, s.counts.conflicts...)
}

func (s *Server) getSummary(*call) answer {
	return reply(200, struct {
		Schema string `json:"schema"`
		Summary
	}{"carl.camp.dev/1", s.Summary()})
}

// pageOf reads which part of a list is asked for.
func (c *call) pageOf() (after, limit int, ok bool) {
	query := c.URL.Query()
	number := func(name string, otherwise int) (int, bool) {
		if !query.Has(name) {
			return otherwise, true
		}
		n, err := strconv.Atoi(query.Get(name))
		return n, err == nil && n >= 0
	}
	after, ok1 := number("after", 0)
	limit, ok2 := number("limit", maxPage)
	return after, min(limit, maxPage), ok1 && ok2
}

func (s *Server) getSignals(c *call) answer {
	after, limit, ok := c.pageOf()
	if !ok {
		return refuse(422, "invalid_query", "after and limit are numbers")
	}
	var lines []byte
	for _, h := range s.signals.page(after, limit) {
		line, err := json.Marshal(struct {
			ID     string `json:"id"`
			Type   string `json:"type"`
			SHA256 string `json:"sha256"`
		}{h.id, h.typ, h.sum.String()})
		if err != nil {
			return refuse(500, "internal", "a signal cannot be shown")
		}
		lines = append(append(lines, line...), '\n')
	}
	return answer{status: 200, contentType: "application/x-ndjson", body: lines}
}

func (s *Server) getSignal(c *call) answer {
	body, ok, err := s.signals.get(c.rest)
	switch {
	case err != nil:
		return refuse(500, "storage", "the signal could not be read")
	case !ok:
		return refuse(404, "not_found", "no signal is held under this id")
	}
	return answer{status: 200, contentType: "application/cloudevents+json", body: body}
}

func (s *Server) getConflicts(*call) answer {
	return reply(200, struct {
		Conflicts []Conflict `json:"conflicts"`
	}{s.Conflicts()})
}
