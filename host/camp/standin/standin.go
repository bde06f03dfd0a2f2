// Package standin is a strict local stand-in of the platform, for `carl camp
// dev` and for tests: it serves the calls of ../API.md from this machine,
// keeps what it receives, refuses what the platform would refuse, and fails on
// request.
package standin

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Options say what a stand-in keeps and how it misbehaves. The zero value is
// an honest one that keeps everything in memory.
type Options struct {
	// DataDir keeps what is received, and the token, across restarts; "" keeps it in memory.
	DataDir string
	// Token is the bearer token to ask for. "" makes one, or takes the one in DataDir.
	Token string
	// Tier is what the token's owner has paid for; "" is "free".
	Tier string
	// Faults are drawn from for every call of the platform's API.
	Faults Faults
	// Seed makes the draws repeatable; 0 takes a random one.
	Seed uint64
	// Slow is how long the fault slow waits; 0 is 2 s.
	Slow time.Duration
	// RetryAfter is what 429 and 503 ask for; 0 is 1 s.
	RetryAfter time.Duration
	// Clock is the stand-in's time; nil is the machine's.
	Clock func() time.Time
	// Log is told of every request after it was answered; nil is told nothing.
	Log func(Request)
	// Anywhere lets Start listen on addresses other than loopback.
	Anywhere bool
}

// Request is one line of the request log.
type Request struct {
	Time   time.Time
	Method string
	Path   string
	Status int    // 0 when no answer was given
	Fault  string // the fault that was played, or ""
	Events int    // how many events the call carried
	Took   time.Duration
}

// Faults are kinds of failure with their probabilities.
type Faults struct{}

// ParseFaults reads "429:0.1,500:0.05,reset:0.05,slow:0.1".
func ParseFaults(s string) (Faults, error) { return Faults{}, errors.New("not built yet") }

// Server is a stand-in.
type Server struct{}

// New opens the store and makes a stand-in.
func New(o Options) (*Server, error) { return nil, errors.New("not built yet") }

// Token is the bearer token that calls must carry.
func (s *Server) Token() string { return "" }

// Handler serves the API.
func (s *Server) Handler() http.Handler { return http.NotFoundHandler() }

// Start listens on address, such as 127.0.0.1:0, serves in the background, and returns the URL.
func (s *Server) Start(address string) (url string, err error) {
	return "", errors.New("not built yet")
}

// Shutdown ends serving after the calls under way are answered, and closes the store.
func (s *Server) Shutdown(ctx context.Context) error { return nil }

// Close ends at once.
func (s *Server) Close() error { return nil }

// Summary is what a stand-in holds.
type Summary struct {
	Tier       string
	Signals    int
	Types      map[string]int
	Duplicates int // events sent again, with the same body
	Conflicts  int // events sent with another body under a known id
	Rejected   int // events refused for another reason
	Requests   int
	Faults     map[string]int
}

// Summary counts what is held.
func (s *Server) Summary() Summary { return Summary{} }

// IDs returns the ids of the signals that are held, in the order of their arrival.
func (s *Server) IDs() []string { return nil }

// Event returns the body of a signal, as it was received.
func (s *Server) Event(id string) ([]byte, bool) { return nil, false }
