package plugins_test

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The cases of variant outcome.
const (
	accepted byte = iota
	_             // duplicate
	rejected
	retry
	conflict
)

// ledgerLines are lines of a ledger in form, each of size bytes or a little more.
func ledgerLines(n, size int) []event {
	var list []event
	for i := range n {
		sum := sha512.Sum512([]byte(strconv.Itoa(i)))
		sig := hex.EncodeToString(sum[:])
		list = append(list, event{id: sig, kind: "decision", time: uint64(i),
			body: fmt.Sprintf(`{"payload":"%s\u0001","rule":"Zürich","seq":%d,"sig":"%s"}`, strings.Repeat("x", size), i, sig)})
	}
	return list
}

// ledgerServer answers each request with the next of its answers, and keeps
// what arrived; where it has none, it stores every block.
type ledgerServer struct {
	*httptest.Server
	answers []ledgerAnswer
	seen    []ledgerRequest
}

type ledgerAnswer struct {
	status int
	body   string // SIG stands for the Idempotency-Key of the request
	wait   string // Retry-After
	cut    bool   // the connection ends before the body does
}

type ledgerRequest struct {
	line   string // method and path
	header http.Header
	body   string
}

func newLedgerServer(t *testing.T) *ledgerServer {
	s := &ledgerServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.seen = append(s.seen, ledgerRequest{r.Method + " " + r.URL.String(), r.Header.Clone(), string(body)})
		a := ledgerAnswer{status: 200, body: `{"ack":"SIG"}`}
		if len(s.answers) > 0 {
			a, s.answers = s.answers[0], s.answers[1:]
		}
		text := strings.ReplaceAll(a.body, "SIG", r.Header.Get("Idempotency-Key"))
		if a.wait != "" {
			w.Header().Set("Retry-After", a.wait)
		}
		if a.cut {
			w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
		}
		w.WriteHeader(a.status)
		io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s
}

// script sets the next answers and forgets what arrived.
func (s *ledgerServer) script(answers ...ledgerAnswer) { s.answers, s.seen = answers, nil }

const (
	ledgerHash = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
	ledgerKey  = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" // RFC 8032 §7.1, test 1
	behind     = "a block before it was not stored"
)

// TestCampModuleLedger runs the built forwarder with blocks of a ledger.
func TestCampModuleLedger(t *testing.T) {
	server := newLedgerServer(t)
	asked := 0
	in := instantiate(t, module(t, "./plugins/forward/camp"), host{send: func(q request) (*response, *httpError) {
		asked++
		for _, h := range q.headers {
			if name := strings.ToLower(h[0]); name == "authorization" || strings.Contains(name, "token") {
				t.Errorf("the plugin itself sets %s", h[0])
			}
		}
		return overNet(q)
	}})
	lines := ledgerLines(3, 10)
	if got, f := in.deliver(1, lines); got != nil || f == nil || f.kind != 3 || asked > 0 {
		t.Errorf("before open: outcomes %v, failure %+v, %d requests", got, f, asked)
	}
	for _, settings := range []string{`"ledger":"in"`, `"ledger":"//evil"`, `"ledger_key":"x"`, `"ledger_key":"` + ledgerKey + `="`, `"token":"x"`} {
		if f := in.open(`{"url":"` + server.URL + `",` + settings + `}`); f == nil || f.kind != 3 {
			t.Errorf("settings with %s: %+v", settings, f)
		}
	}

	// Order, bytes and fields, without and with a key.
	for _, c := range []struct {
		settings, line string
		key            []string
	}{
		{``, "POST /api/ledger/append", nil},
		{`,"ledger":"/v2/blocks","ledger_key":"` + ledgerKey + `"`, "POST /v2/blocks", []string{ledgerKey}},
		{`,"signals_path":"/in"`, "POST /api/ledger/append", nil},
	} {
		if f := in.open(`{"url":"` + server.URL + `"` + c.settings + `}`); f != nil {
			t.Fatal(f)
		}
		server.script(
			ledgerAnswer{status: 200, body: `{"ack":"SIG","receipt":"carl-receipt/v1\nseq 0\n\n\u2014 carl.camp/receipts c2ln\n"}`},
			ledgerAnswer{status: 200, body: `{"ack":"SIG"}`},
			ledgerAnswer{status: 200, body: `{"ack":"SIG","receipt":"again","duplicate":true}`},
		)
		got, f := in.deliver(1, lines)
		want := []outcome{{accepted, "carl-receipt/v1\nseq 0\n\n— carl.camp/receipts c2ln\n"}, {accepted, ""}, {accepted, "again"}}
		if f != nil || !slices.Equal(got, want) {
			t.Errorf("outcomes %q, failure %+v; want %q", got, f, want)
		}
		if len(server.seen) != len(lines) {
			t.Fatalf("%d requests for %d blocks", len(server.seen), len(lines))
		}
		for i, r := range server.seen {
			if r.line != c.line || r.body != lines[i].body {
				t.Errorf("request %d: %s with %q, want %s with %q", i, r.line, r.body, c.line, lines[i].body)
			}
			for name, want := range map[string][]string{
				"Content-Type":      {"application/json"},
				"Idempotency-Key":   {lines[i].id},
				"X-Carl-Ledger-Key": c.key,
				"Authorization":     nil,
			} {
				if got := r.header.Values(name); !slices.Equal(got, want) {
					t.Errorf("request %d: %s is %q, want %q", i, name, got, want)
				}
			}
		}
	}

	// What a block's own answer makes of it, at the first place and at the second.
	for _, c := range []struct {
		answer ledgerAnswer
		want   outcome
	}{
		{ledgerAnswer{status: 200, body: `{"ack":"SIG","receipt":"` + strings.Repeat("r", 4096) + `"}`}, outcome{accepted, strings.Repeat("r", 4096)}},
		{ledgerAnswer{status: 200, body: `{"ack":"SIG","receipt":"` + strings.Repeat("r", 4097) + `"}`}, outcome{accepted, ""}},
		{ledgerAnswer{status: 200, body: "{\"ack\":\"SIG\",\"receipt\":\"\xc3(\"}"}, outcome{accepted, ""}},
		{ledgerAnswer{status: 200, body: `{"ack":"` + strings.Repeat("0", 128) + `"}`},
			outcome{retry, `the platform's answer cannot be believed: "ack" is not the signature of the block that was sent`}},
		{ledgerAnswer{status: 200, body: `{"ack":""}`},
			outcome{retry, `the platform's answer cannot be believed: "ack" is not the signature of the block that was sent`}},
		{ledgerAnswer{status: 200, body: `{"results":[]}`}, outcome{retry, `the platform's answer cannot be believed: "ack" is nothing`}},
		{ledgerAnswer{status: 200, body: `<!doctype html>`}, outcome{retry, "the platform's answer cannot be believed: not JSON at byte 0: no value begins like this"}},
		{ledgerAnswer{status: 200, body: `{"ack":"SIG"}` + strings.Repeat(" ", 1<<20)}, outcome{retry, "the platform's answer cannot be believed: it is longer than 65536 bytes"}},
		{ledgerAnswer{status: 409, body: `{"seq":1,"have":"` + ledgerHash + `"}`}, outcome{conflict, ledgerHash}},
		{ledgerAnswer{status: 409, body: `{"seq":1,"have":"unknown"}`}, outcome{conflict, ""}},
		{ledgerAnswer{status: 422, body: `{"error":{"code":"gap","message":"a\nb","fields":[{"path":"/seq","message":"expected 4"}]}}`},
			outcome{rejected, `gap: expected 4; the platform answered 422: a b; at "/seq": expected 4 (gap)`}},
		{ledgerAnswer{status: 400, body: `{"error":{"code":"x","message":"` + strings.Repeat("m", 5000) + `"}}`},
			outcome{rejected, "the platform answered 400: " + strings.Repeat("m", 300) + "… (x)"}},
		{ledgerAnswer{status: 413}, outcome{rejected, "the platform answered 413"}},
	} {
		for at := range 2 {
			answers := []ledgerAnswer{{status: 200, body: `{"ack":"SIG"}`}, c.answer}[1-at:]
			want := []outcome{{accepted, ""}, c.want, {retry, behind}}[1-at:]
			due := at + 1
			if c.want.kind == accepted {
				want[len(want)-1], due = outcome{accepted, ""}, at+2
			}
			server.script(answers...)
			got, f := in.deliver(1, lines[:at+2])
			if f != nil || !slices.Equal(got, want) || len(server.seen) != due {
				t.Errorf("%d %.200q at block %d: outcomes %q, failure %+v after %d requests; want %q after %d",
					c.answer.status, c.answer.body, at, got, f, len(server.seen), want, due)
			}
		}
	}

	// What says nothing about a block: a failure at the first, and put off at a later one.
	soon := time.Now().Add(2 * time.Minute).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		answer   ledgerAnswer
		kind     byte
		message  string
		min, max uint64
	}{
		{ledgerAnswer{status: 401}, 1, "the platform answered 401: not now (x.y)", 0, 0},
		{ledgerAnswer{status: 402}, 1, "not allowed: the platform answered 402: not now (x.y)", 0, 0},
		{ledgerAnswer{status: 403}, 1, "not allowed: the platform answered 403: not now (x.y)", 0, 0},
		{ledgerAnswer{status: 404}, 3, "the platform answered 404: not now (x.y)", 0, 0},
		{ledgerAnswer{status: 408}, 0, "the platform answered 408: not now (x.y)", 0, 0},
		{ledgerAnswer{status: 425, wait: "9"}, 0, "the platform answered 425: not now (x.y)", 9000, 9000},
		{ledgerAnswer{status: 429, wait: "9"}, 0, "the platform answered 429: not now (x.y)", 9000, 9000},
		{ledgerAnswer{status: 500}, 0, "the platform answered 500: not now (x.y)", 0, 0},
		{ledgerAnswer{status: 503, wait: soon}, 0, "the platform answered 503: not now (x.y)", 1, 120_000},
		{ledgerAnswer{status: 200, cut: true}, 0, "no answer from the platform: unexpected EOF", 0, 0},
	} {
		c.answer.body = `{"ack":"SIG","error":{"code":"x.y","message":"not now"}}`
		server.script(c.answer)
		got, f := in.deliver(1, lines)
		if got != nil || f == nil || f.kind != c.kind || f.message != c.message || f.retryAfter < c.min || f.retryAfter > c.max || len(server.seen) != 1 {
			t.Errorf("%d: outcomes %q, failure %+v after %d requests; want kind %d, a wait from %d to %d ms", c.answer.status, got, f, len(server.seen), c.kind, c.min, c.max)
		}
		server.script(ledgerAnswer{status: 200, body: `{"ack":"SIG","receipt":"kept"}`}, c.answer)
		got, f = in.deliver(1, lines)
		want := []outcome{{accepted, "kept"}, {retry, c.message}, {retry, behind}}
		if f != nil || !slices.Equal(got, want) || len(server.seen) != 2 {
			t.Errorf("%d at the second block: outcomes %q, failure %+v after %d requests; want %q", c.answer.status, got, f, len(server.seen), want)
		}
		// The next batch begins with that block: what the platform asked for counts,
		// and it is not asked again.
		got, f = in.deliver(1, lines[1:])
		if got != nil || f == nil || f.kind != c.kind || f.message != c.message || f.retryAfter > c.max || c.min > 1 && f.retryAfter < c.min-2000 || len(server.seen) != 2 {
			t.Errorf("%d remembered: outcomes %q, failure %+v after %d requests", c.answer.status, got, f, len(server.seen))
		}
	}

	// The largest batch that carl hands over: 4 MiB of the largest blocks.
	server.script()
	many := ledgerLines(64, 65_000)
	got, f := in.deliver(1, many)
	if f != nil || len(got) != len(many) || slices.ContainsFunc(got, func(o outcome) bool { return o != outcome{accepted, ""} }) {
		t.Errorf("a full batch: outcomes %q, failure %+v", got, f)
	}
	for i, r := range server.seen {
		if r.body != many[i].body || r.header.Get("Idempotency-Key") != many[i].id {
			t.Errorf("block %d of a full batch came as another", i)
		}
	}
	if got, f := in.deliver(1, nil); f != nil || len(got) != 0 {
		t.Errorf("no blocks: outcomes %q, failure %+v", got, f)
	}

	server.Close()
	if got, f := in.deliver(1, lines); got != nil || f == nil || f.kind != 0 || f.message == "" {
		t.Errorf("no server: outcomes %q, failure %+v", got, f)
	}
}
