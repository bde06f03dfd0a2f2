package standin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/camp"
)

const (
	// maxBody bounds a request body: a full batch of events has 4 MiB.
	maxBody = 8 << 20
	// maxDrain is how much of a body that is refused is read, and thrown away,
	// so that the client gets to read the refusal instead of a reset.
	maxDrain = 64 << 20
	// streamIdle ends a body that is read as it comes, and does not come.
	streamIdle = time.Minute
)

// route is one call. An element "*" of a path stands for any one.
type route struct {
	method, path string
	// open calls need no token.
	open bool
	// stream calls read their body themselves, as it comes.
	stream bool
	// own marks the stand-in's own calls, under /dev/, which never fail on purpose.
	own   bool
	serve func(*call) answer
}

// table lists every call. A group of calls joins by its lines here and a file
// of its own.
func (s *Server) table() []route {
	paths := camp.DefaultPaths()
	return []route{
		{method: "POST", path: paths.Signals, serve: s.postSignals},
		{method: "GET", path: paths.JWKS, open: true, serve: s.getJWKS},
		{method: "GET", path: paths.Entitlements, serve: s.getEntitlements},
		{method: "POST", path: paths.LedgerAppend, serve: s.postBlock},
		{method: "POST", path: paths.Runs, serve: s.postRun},
		{method: "GET", path: paths.Runs, serve: s.getRuns},
		{method: "GET", path: paths.Runs + "/*", serve: s.getRun},
		{method: "POST", path: paths.Resonants, stream: true, serve: s.postResonant},

		{method: "GET", path: "/dev/summary", own: true, serve: s.getSummary},
		{method: "GET", path: "/dev/signals", own: true, serve: s.getSignals},
		{method: "GET", path: "/dev/signals/*", own: true, serve: s.getSignal},
		{method: "GET", path: "/dev/conflicts", own: true, serve: s.getConflicts},
		{method: "GET", path: "/dev/keys", own: true, serve: s.getKeys},
		{method: "GET", path: "/dev/ledger", own: true, serve: s.getLedgers},
		{method: "GET", path: "/dev/ledger/*", own: true, serve: s.getLedger},
		{method: "GET", path: "/dev/runs", own: true, serve: s.getHeldRuns},
		{method: "GET", path: "/dev/runs/*/payload", own: true, serve: s.getPayload},
		{method: "GET", path: "/dev/resonants/*", own: true, serve: s.getResonant},

		{method: "POST", path: "/dev/tier/*", own: true, serve: s.postTier},
		{method: "POST", path: "/dev/grant/*", own: true, serve: s.postGrant},
		{method: "POST", path: "/dev/revoke/*", own: true, serve: s.postRevoke},
		{method: "POST", path: "/dev/entitlements/*", own: true, serve: s.postEntitlements},
		{method: "POST", path: "/dev/issued/*", own: true, serve: s.postIssued},
		{method: "POST", path: "/dev/keys/*", own: true, serve: s.postKeys},
		{method: "POST", path: "/dev/license", own: true, serve: s.postLicense},
		{method: "POST", path: "/dev/ledger/conflict", own: true, serve: s.postConflict},
		{method: "POST", path: "/dev/receipts/*", own: true, serve: s.postReceipts},
		{method: "POST", path: "/dev/runs/speed/*", own: true, serve: s.postRunTime},
		{method: "POST", path: "/dev/runs/*/*", own: true, serve: s.postRunChange},
		{method: "POST", path: "/dev/runs/*/state/*", own: true, serve: s.postRunState},
	}
}

// call is one request on its way through a route.
type call struct {
	*http.Request
	body []byte
	// rest is what "*" stood for; where it is there twice, with a slash between.
	rest string
	// extend gives a body that is still coming, and its answer, more time.
	extend func()
	// unread says that the answer does not wait for the rest of the body.
	unread bool
	// events is how many events the call carried, for the log.
	events int
}

// answer is what a call says. A nil body is none.
type answer struct {
	status      int
	header      map[string]string
	contentType string // application/json where empty
	body        []byte
	// lies are what the fault lie can make of this answer, beside what it can
	// make of every one.
	lies []func() answer
}

// problem is the JSON form of an error.
type problem struct {
	Error problemBody `json:"error"`
}

type problemBody struct {
	Code    string       `json:"code"`
	Message string       `json:"message"`
	Fields  []camp.Field `json:"fields"`
}

func refuse(status int, code, message string, fields ...camp.Field) answer {
	if fields == nil {
		fields = []camp.Field{}
	}
	return reply(status, problem{problemBody{code, message, fields}})
}

func reply(status int, doc any) answer {
	body, err := json.Marshal(doc, json.Deterministic(true))
	if err != nil {
		// The documents are this package's own, of strings and numbers.
		panic(err)
	}
	return answer{status: status, body: append(body, '\n')}
}

func (a answer) with(name, value string) answer {
	header := map[string]string{name: value}
	for k, v := range a.header {
		header[k] = v
	}
	a.header = header
	return a
}

// Handler serves the API.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	start := s.clock()
	c := &call{Request: r, extend: func() { extend(w) }}
	a, played := s.answer(c)
	status := a.status
	if played == faultReset || played == faultLost {
		status = 0
		reset(w)
	} else if c.unread {
		writeEarly(w, c, a)
	} else {
		write(w, a)
	}
	s.counts.request(played)
	if s.log != nil {
		s.log(Request{Time: start, Method: r.Method, Path: r.URL.Path, Status: status, Fault: played, Events: c.events, Took: s.clock().Sub(start)})
	}
}

// answer finds the route, checks what every call must have, and plays a fault.
func (s *Server) answer(c *call) (a answer, played string) {
	rt, a := s.route(c)
	if rt == nil {
		discard(c.Body)
		return a, ""
	}
	if !rt.own {
		s.counts.ask(rt.path)
	}
	if !rt.open && !s.authorized(c.Request) {
		c.dismiss(rt)
		return unauthorized(), ""
	}
	if rt.stream {
		if a, ok := c.plain(); !ok {
			c.dismiss(rt)
			return a, ""
		}
	} else if a, ok := c.readBody(); !ok {
		return a, ""
	}
	if rt.own {
		return rt.serve(c), ""
	}
	f := s.draws.next()
	switch {
	case f.name == "":
		return rt.serve(c), ""
	case f.status != 0:
		c.dismiss(rt)
		return s.played(f.status), f.name
	case f.name == faultReset:
		return answer{}, f.name
	case f.name == faultSlow:
		s.wait(c)
		return rt.serve(c), f.name
	case f.name == faultLie:
		return lie(rt.serve(c), f.pick), f.name
	}
	return rt.serve(c), f.name
}

func (s *Server) route(c *call) (*route, answer) {
	path := c.URL.Path
	var allowed []string
	for i := range s.routes {
		rt := &s.routes[i]
		rest, ok := rt.match(path)
		if !ok {
			continue
		}
		if c.Method == rt.method || c.Method == "HEAD" && rt.method == "GET" {
			c.rest = rest
			return rt, answer{}
		}
		allowed = append(allowed, rt.method)
		if rt.method == "GET" {
			allowed = append(allowed, "HEAD")
		}
	}
	if allowed == nil {
		return nil, refuse(404, "not_found", "there is no such call")
	}
	slices.Sort(allowed)
	return nil, refuse(405, "method_not_allowed", "the call has another method").with("Allow", strings.Join(allowed, ", "))
}

func (rt *route) match(path string) (rest string, ok bool) {
	pattern := rt.path
	for {
		before, after, wild := strings.Cut(pattern, "*")
		if !wild {
			return rest, path == pattern
		}
		if path, ok = strings.CutPrefix(path, before); !ok {
			return "", false
		}
		end := strings.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		if end == 0 {
			return "", false
		}
		if rest != "" {
			rest += "/"
		}
		rest += path[:end]
		pattern, path = after, path[end:]
	}
}

func (s *Server) authorized(r *http.Request) bool {
	fields := r.Header["Authorization"]
	if len(fields) != 1 {
		return false
	}
	// Hashing hides the length, too, from the time the comparison takes.
	got, want := sha256.Sum256([]byte(bearer(fields[0]))), sha256.Sum256([]byte(s.token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func unauthorized() answer {
	return refuse(401, "unauthorized", "the bearer token is missing or not valid").with("Www-Authenticate", `Bearer realm="carl.camp"`)
}

// plain refuses a body that is encoded.
func (c *call) plain() (answer, bool) {
	if coding := c.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return refuse(415, "unsupported_encoding", "the body must not be encoded").with("Accept-Encoding", "identity"), false
	}
	return answer{}, true
}

// dismiss deals with a body that nobody wants. One that comes as a stream may
// be so long that the client must get the refusal before it has sent it.
func (c *call) dismiss(rt *route) {
	if c.unread = rt.stream; !c.unread {
		discard(c.Body)
	}
}

// readBody reads the whole body, which may be chunked, but not encoded.
func (c *call) readBody() (answer, bool) {
	if a, ok := c.plain(); !ok {
		discard(c.Body)
		return a, false
	}
	body, err := io.ReadAll(io.LimitReader(c.Body, maxBody+1))
	if err != nil {
		return refuse(400, "incomplete", "the body did not arrive whole").with("Connection", "close"), false
	}
	if len(body) > maxBody {
		discard(c.Body)
		return refuse(413, "too_large", fmt.Sprintf("the body is larger than %d bytes", maxBody)), false
	}
	c.body = body
	return answer{}, true
}

func discard(body io.Reader) { io.CopyN(io.Discard, body, maxDrain) }

// extend takes the place of readTimeout and writeTimeout for a body that is
// larger than they have time for.
func extend(w http.ResponseWriter) {
	rc := http.NewResponseController(w)
	until := time.Now().Add(streamIdle)
	rc.SetReadDeadline(until)
	rc.SetWriteDeadline(until.Add(writeTimeout))
}

// contentType checks the media type of the body; its only parameter may be a charset of UTF-8.
func (c *call) contentType(want string) bool {
	fields := c.Header["Content-Type"]
	if len(fields) != 1 {
		return false
	}
	got, params, err := mime.ParseMediaType(fields[0])
	if err != nil || got != want {
		return false
	}
	charset, has := params["charset"]
	return len(params) == 0 || len(params) == 1 && has && strings.EqualFold(charset, "utf-8")
}

// wait is the fault slow. It ends early when nobody waits for the answer any more.
func (s *Server) wait(c *call) {
	t := time.NewTimer(s.slow)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.Context().Done():
	case <-s.ending:
	}
}

func write(w http.ResponseWriter, a answer) {
	h := w.Header()
	for name, value := range a.header {
		h.Set(name, value)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if a.body != nil {
		if a.contentType == "" {
			a.contentType = "application/json"
		}
		h.Set("Content-Type", a.contentType)
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
}

// writeEarly answers while the body is still coming, and then throws away some
// of it: a client whose sending fails may never look at the answer.
func writeEarly(w http.ResponseWriter, c *call, a answer) {
	rc := http.NewResponseController(w)
	rc.EnableFullDuplex()
	c.extend()
	write(w, a.with("Connection", "close"))
	rc.Flush()
	discard(c.Body)
}

// reset cuts the connection without an answer, with a TCP reset where that can
// be had.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		if !errors.Is(err, http.ErrNotSupported) {
			return
		}
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
