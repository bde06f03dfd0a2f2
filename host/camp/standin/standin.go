// Package standin is a strict local stand-in of the platform, for `carl camp
// dev` and for tests: it serves calls of ../API.md from this machine, keeps
// what it receives, refuses what the platform would refuse, and fails on
// request.
//
// # What it serves
//
// The calls of the platform (a file for each group: signals.go, keys.go,
// entitlements.go, ledger.go, runs.go, resonants.go), and its own under /dev/, for looking at
// what it holds (look.go):
//
//	GET /dev/summary          counts, by type and by what was refused
//	GET /dev/signals          the signals held, a JSON line each, in order of arrival;
//	                          ?after=N skips N, ?limit=N ends after N (default and at most 10,000)
//	GET /dev/signals/{id}     one signal, byte for byte as it was received
//	GET /dev/conflicts        the first 1,000 bodies that came under an id that had another
//	GET /dev/keys             the keys there are, the offline root, and the key of receipts
//	GET /dev/ledger           the ledgers that blocks came of
//	GET /dev/ledger/{id}      the blocks of one, a line each, byte for byte as they were received;
//	                          ?after=N and ?limit=N as of signals, and at most 16 MiB
//	GET /dev/runs             the runs held, and how they are
//	GET /dev/runs/{id}/payload  what a run was submitted with
//	GET /dev/resonants/{id}   size and hash of a resonant
//
// and for making it another platform than it was (admin.go):
//
//	POST /dev/tier/{tier}             what the token's owner has paid for: free or paid
//	POST /dev/grant/{key}             grants one thing more; ?for=DURATION ends the grant
//	POST /dev/revoke/{key}            takes such a grant back
//	POST /dev/entitlements/{status}   answers the entitlements with this status; 200 is normal again
//	POST /dev/issued/{duration}       lets tokens look as if issued that long ago; 0s is normal again
//	POST /dev/keys/{how}              changes the keys: add, retire, replace or swap (see [Rotation])
//	POST /dev/license                 signs a licence; ?tier=, ?for=, ?issued=, ?install_id=
//	POST /dev/ledger/conflict         answers the next new block as a conflict
//	POST /dev/receipts/{on|off}       acknowledges blocks with a receipt, or without
//	POST /dev/runs/speed/{duration}   how long the runs take that come from now on
//	POST /dev/runs/{id}/{how}         sets a run to a state, holds or releases it: succeed, fail,
//	                                  cancel, hold, release or state/NAME
//
// All calls but the key set ask for the bearer token. The same changes can be
// made from Go: [Server.SetTier] and what follows it.
//
// # What it keeps
//
// With a data folder, every signal is a line of signals.jsonl, and every block
// one of ledger.jsonl (ledger_store.go), and every run, change of a run and
// resonant one of runs.jsonl (run_store.go), on disk before it is acknowledged;
// the bytes of resonants are in the folder resonants; the token is in the file token, and keys, tier and grants in keys.json (state.go).
// All of them outlast the process, however it ends; what makes it fail on
// request does not. One process at a time has the folder.
//
// # How it fails
//
// [ParseFaults] lists the faults. They are drawn for each call of the
// platform's API that would be let in, because it has the right token or, as
// the key set, needs none; from one seeded sequence, and never for /dev/.
package standin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	// readHeaderTimeout and readTimeout end a client that sends its request
	// a byte at a time.
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	// writeTimeout leaves room for the longest answer to /dev/signals.
	writeTimeout = 2 * time.Minute
	idleTimeout  = time.Minute
	// maxHeader bounds the fields of a request; a token and an idempotency key take 10 KiB.
	maxHeader = 32 << 10
	// defaultSlow is what the fault slow waits: longer than a person, shorter than carl's timeouts.
	defaultSlow = 2 * time.Second
	// defaultRetryAfter is what 429 and 503 ask for.
	defaultRetryAfter = time.Second
	// maxTokenFile bounds the file that keeps the token.
	maxTokenFile = 16 << 10
)

// Options say what a stand-in keeps and how it misbehaves. The zero value is
// an honest one that keeps everything in memory.
type Options struct {
	// DataDir keeps what is received, and the token, across restarts; it is
	// made where it is missing. "" keeps everything in memory.
	DataDir string
	// Token is the bearer token to ask for. "" takes the one in DataDir, or makes one.
	Token string
	// Tier is what the token's owner has paid for, one of [Tiers]. "" takes the
	// one in DataDir, or is "free".
	Tier string
	// Issuer is the claim iss of what the stand-in signs; "" is [camp.DefaultURL].
	// It is not the address at which the stand-in listens: one that is started
	// again on another port must not invalidate what it issued before. carl
	// accepts either.
	Issuer string
	// Faults are drawn from for every call of the platform's API.
	Faults Faults
	// Seed makes the draws repeatable; 0 takes a random one.
	Seed uint64
	// Slow is how long the fault slow waits; 0 is 2 s.
	Slow time.Duration
	// RetryAfter is what 429 and 503 ask for, in whole seconds; 0 is 1 s, less than 0 asks for nothing.
	RetryAfter time.Duration
	// Clock is the stand-in's time; nil is the machine's. It may be called from several goroutines.
	Clock func() time.Time
	// Log is told of every request after it was answered, from the goroutine
	// that served it; nil is told nothing.
	Log func(Request)
	// Anywhere lets Start listen on addresses other than loopback.
	Anywhere bool
}

// Request is one line of the request log.
type Request struct {
	Time   time.Time
	Method string
	Path   string
	// Status is what was answered, 0 when the connection was cut instead.
	Status int
	// Fault is the fault that was played, or "".
	Fault string
	// Events is how many events the call carried.
	Events int
	Took   time.Duration
}

// Server is a stand-in. It is safe for use by several goroutines.
type Server struct {
	token      string
	clock      func() time.Time
	log        func(Request)
	slow       time.Duration
	retryAfter time.Duration
	anywhere   bool
	lock       *private.FileLock
	signals    *signalStore
	ledgers    *ledgerStore
	runs       *runStore
	// maxResonant bounds a resonant, in bytes; tests have it smaller.
	maxResonant int64
	issuer      *issuer
	draws       *draws
	counts      *counts
	routes      []route

	ending chan struct{} // closed when slow answers need wait no longer
	ended  sync.Once

	mu   sync.Mutex
	http *http.Server // guarded by mu; nil until Start
}

// New opens the store and makes a stand-in. Errors are *[fault.Error]: of the
// folder's use, [fault.Usage] for Tier and Issuer, [fault.CampTokenInvalid] for
// Token, [fault.IO] for signals and blocks that are damaged elsewhere than at
// their end and for a keys.json that is damaged: new keys in place of lost ones
// are what an attack looks like, and nobody gets them without being told.
func New(o Options) (*Server, error) {
	s := &Server{
		token:       o.Token,
		clock:       o.Clock,
		log:         o.Log,
		slow:        o.Slow,
		retryAfter:  o.RetryAfter,
		anywhere:    o.Anywhere,
		draws:       newDraws(o.Faults, o.Seed),
		maxResonant: maxResonant,
		counts:      newCounts(),
		ending:      make(chan struct{}),
	}
	if o.Tier != "" {
		if err := checkTier(o.Tier); err != nil {
			return nil, asFault(err)
		}
	}
	if err := checkIssuer(o.Issuer); err != nil {
		return nil, asFault(err)
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.slow == 0 {
		s.slow = defaultSlow
	}
	if s.retryAfter == 0 {
		s.retryAfter = defaultRetryAfter
	}
	if s.token != "" {
		token, err := camp.ParseToken(s.token)
		if err != nil {
			return nil, err
		}
		s.token = token
	}
	if err := s.open(o); err != nil {
		if s.lock != nil {
			s.lock.Unlock()
		}
		return nil, err
	}
	s.routes = s.table()
	return s, nil
}

func (s *Server) open(o Options) error {
	dir := o.DataDir
	if dir == "" {
		if s.token == "" {
			s.token = newToken()
		}
		s.signals, s.ledgers, s.runs = newSignalStore(), newLedgerStore(), newRunStore()
		var err error
		s.issuer, err = openIssuer("", o, s.clock)
		return err
	}
	if err := private.MkdirAll(dir); err != nil {
		return err
	}
	lock, free, err := private.TryLock(filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	if !free {
		return fault.New(fault.IO, "stand-in: another process keeps its data in %q", dir).
			WithHint("stop it, or give this one another folder with --data")
	}
	s.lock = lock
	if err := s.keepToken(filepath.Join(dir, "token")); err != nil {
		return err
	}
	if s.issuer, err = openIssuer(filepath.Join(dir, "keys.json"), o, s.clock); err != nil {
		return err
	}
	if s.signals, err = openSignalStore(filepath.Join(dir, "signals.jsonl")); err != nil {
		return err
	}
	if s.ledgers, err = openLedgerStore(dir); err != nil {
		s.signals.close()
		return err
	}
	if s.runs, err = openRunStore(dir); err != nil {
		s.signals.close()
		s.ledgers.close()
	}
	return err
}

// keepToken makes the token outlast a restart, so that nobody has to log in again.
func (s *Server) keepToken(file string) error {
	if s.token == "" {
		text, err := private.ReadFile(file, maxTokenFile)
		if err == nil {
			s.token, err = camp.ParseToken(string(text))
			return err
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		s.token = newToken()
	}
	return private.WriteFile(file, []byte(s.token+"\n"))
}

func newToken() string {
	var b [20]byte
	rand.Read(b[:]) // never fails
	return "camp_dev_" + hex.EncodeToString(b[:])
}

// Token is the bearer token that calls must carry.
func (s *Server) Token() string { return s.token }

// SetFaults replaces the faults; the sequence they are drawn from goes on.
func (s *Server) SetFaults(f Faults) { s.draws.set(f) }

// Start listens on address, such as "127.0.0.1:0", serves in the background
// and returns the URL. Without Options.Anywhere the address must be one of
// this machine's loopback interface. It is called once. The error is a
// *[fault.Error] with code [fault.Usage] or [fault.IO].
func (s *Server) Start(address string) (url string, err error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", fault.New(fault.Usage, "stand-in: %q is not an address of the form 127.0.0.1:0", address)
	}
	if ip, err := netip.ParseAddr(host); !s.anywhere && host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return "", fault.New(fault.Usage, "stand-in: %q is not a loopback address, and what listens elsewhere is open to the network", address)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return "", fault.New(fault.IO, "stand-in: cannot listen on %q: %w", address, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		ln.Close()
		return "", fault.New(fault.Internal, "stand-in: started twice")
	}
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout + s.slow,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// What a broken client does to its own connection is no news.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	srv := s.http
	go srv.Serve(ln)
	return "http://" + ln.Addr().String(), nil
}

// Shutdown stops listening, waits for the calls under way until ctx ends, and
// closes the store.
func (s *Server) Shutdown(ctx context.Context) error {
	s.ended.Do(func() { close(s.ending) })
	s.mu.Lock()
	srv := s.http
	s.mu.Unlock()
	var err error
	if srv != nil {
		if err = srv.Shutdown(ctx); err != nil {
			srv.Close()
		}
	}
	return errors.Join(err, s.closeStore())
}

// Close ends at once: calls under way get no answer.
func (s *Server) Close() error {
	s.ended.Do(func() { close(s.ending) })
	s.mu.Lock()
	srv := s.http
	s.mu.Unlock()
	var err error
	if srv != nil {
		err = srv.Close()
	}
	return errors.Join(err, s.closeStore())
}

func (s *Server) closeStore() error {
	err := errors.Join(s.signals.close(), s.ledgers.close(), s.runs.close())
	s.issuer.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock != nil {
		s.lock.Unlock()
	}
	return err
}

// bearer returns the token of an Authorization field, or "".
func bearer(field string) string {
	scheme, token, _ := strings.Cut(field, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}
