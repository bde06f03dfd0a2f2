package camp

import (
	"bufio"
	"bytes"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
	"unicode"

	"carl.camp/carl/host/fault"
)

const (
	runA = "8f14e45f-ceea-467f-a8d9-2d5b1a6c9e10"
	runB = "c9f0f895-fb98-4b91-99d9-2d5b1a6c9e11"
)

var queued = `{"run_id":"` + runA + `","status":"queued"}`

// wantFailure holds an error of the calls about runs against what it must say,
// and what no error may say.
func wantFailure(t testing.TB, err error, want Failure, words ...string) *CallError {
	t.Helper()
	var e *CallError
	if !errors.As(err, &e) || e.Failure != want {
		t.Errorf("got %v, want failure %d", err, want)
		return &CallError{}
	}
	for _, word := range words {
		if !strings.Contains(e.Error()+" "+e.Hint, word) {
			t.Errorf("got %q with hint %q, want %q in it", e.Error(), e.Hint, word)
		}
	}
	wantNoSecret(t, e)
	wantNoSecret(t, e.Fault())
	if e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter {
		t.Errorf("Retry-After %v", e.RetryAfter)
	}
	return e
}

// answers is a site with one answer for everything.
func answers(t testing.TB, status int, body string, fields ...string) *site {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for i := 0; i < len(fields); i += 2 {
			w.Header().Set(fields[i], fields[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

// all makes every call about runs and resonants once.
func all(c *Client) map[string]error {
	ctx := context.Background()
	_, _, submit := c.SubmitRun(ctx, []byte(`{}`), "k")
	_, run := c.Run(ctx, runA)
	_, runs := c.Runs(ctx)
	_, publish := c.PublishResonant(ctx, strings.NewReader("weights"), 7, runA, "", nil)
	return map[string]error{"submit": submit, "run": run, "runs": runs, "publish": publish}
}

func TestRunCalls(t *testing.T) {
	var bodies []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		switch {
		case r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/resonants"):
			w.WriteHeader(201)
			io.WriteString(w, `{"resonant_id":"res-1","more":[]}`)
		case r.Method == "POST":
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(201)
			io.WriteString(w, `{"run_id":"`+strings.ToUpper(runA)+`","status":"queued","unknown":{"a":[1]}}`)
		case strings.HasSuffix(r.URL.Path, runA):
			w.Header().Set("Retry-After", "9999999")
			io.WriteString(w, `{"run_id":"`+runA+`","status":"running","progress":0.25,"step":3,"total_steps":12,"resonant_id":null,"error":null}`)
		default:
			io.WriteString(w, `{"runs":[{"run_id":"`+runB+`","status":"warming up","resonant_id":"res-1"},{"run_id":"`+runA+`","status":"failed","error":"out of\n memory","progress":1}],"next":null}`)
		}
	})
	o := options(t, s.URL+"/carl")
	c := client(t, o)
	run, created, err := c.SubmitRun(t.Context(), []byte(`{"a":1}`), "key-1")
	if err != nil || !created || run.ID != runA || run.Status != "queued" || run.RetryAfter != 3*time.Second || run.Ended() {
		t.Errorf("submit: %+v, %v, %v", run, created, err)
	}
	run, err = c.Run(t.Context(), strings.ToUpper(runA))
	if err != nil || run.Status != "running" || *run.Progress != 0.25 || *run.Step != 3 || *run.TotalSteps != 12 || run.ResonantID != "" || run.Error != "" || run.RetryAfter != maxRetryAfter {
		t.Errorf("run: %+v, %v", run, err)
	}
	runs, err := c.Runs(t.Context())
	if err != nil || len(runs) != 2 || runs[0].ID != runB || runs[0].Status != "warming up" || runs[0].Ended() || runs[0].ResonantID != "res-1" || runs[0].Progress != nil ||
		!runs[1].Ended() || runs[1].Error != "out of  memory" || runs[1].Step != nil {
		t.Errorf("runs: %+v, %v", runs, err)
	}
	id, err := c.PublishResonant(t.Context(), strings.NewReader("weights"), 7, strings.ToUpper(runA), "key-2", nil)
	if err != nil || id != "res-1" {
		t.Errorf("publish: %q, %v", id, err)
	}
	type header = http.Header
	everywhere := header{"Accept": {"application/json"}, "Accept-Encoding": {"identity"}, "Connection": {"close"}, "User-Agent": {"carl/1.2.3"}, "Authorization": {"Bearer " + bearer}}
	for i, want := range []struct {
		method, uri, body string
		more              header
	}{
		{"POST", "/carl/api/training/slime/runs", `{"a":1}`, header{"Content-Type": {"application/json"}, "Idempotency-Key": {"key-1"}, "Content-Length": {"7"}}},
		{"GET", "/carl/api/training/slime/runs/" + runA, "", nil},
		{"GET", "/carl/api/training/slime/runs", "", nil},
		{"POST", "/carl/api/resonants", "weights", header{"Content-Type": {"application/octet-stream"}, "Idempotency-Key": {"key-2"}, "X-Carl-Slime-Run-Id": {runA}, "Content-Length": {"7"}}},
	} {
		r := s.requests()[i]
		for name, value := range everywhere {
			if want.more == nil {
				want.more = header{}
			}
			want.more[name] = value
		}
		if r.Method != want.method || r.RequestURI != want.uri || bodies[i] != want.body || fmt.Sprint(r.Header) != fmt.Sprint(want.more) || len(r.TransferEncoding) > 0 {
			t.Errorf("the site saw %s %s, %q, %v", r.Method, r.RequestURI, bodies[i], r.Header)
		}
	}
}

func TestRunArguments(t *testing.T) {
	s := answers(t, 200, queued)
	c := client(t, options(t, s.URL))
	for _, key := range []string{"", strings.Repeat("k", 129), "a b", "a\r\nX: y", "é", "\x7f"} {
		_, _, err := c.SubmitRun(t.Context(), nil, key)
		wantFault(t, err, fault.Usage)
		if key != "" {
			_, err = c.PublishResonant(t.Context(), strings.NewReader("x"), 1, "", key, nil)
			wantFault(t, err, fault.Usage)
		}
	}
	for _, id := range []string{"", "1", runA + "0", runA[:35], strings.ReplaceAll(runA, "-", ""), "{" + runA[:34] + "}", runA[:8] + "x" + runA[9:], strings.Replace(runA, "8", "g", 1), "../../../../../../../../../../../etc", " " + runA[1:]} {
		_, err := c.Run(t.Context(), id)
		wantFault(t, err, fault.Usage, "UUID")
		if id != "" {
			_, err = c.PublishResonant(t.Context(), strings.NewReader("x"), 1, id, "", nil)
			wantFault(t, err, fault.Usage, "UUID")
		}
	}
	_, err := c.PublishResonant(t.Context(), strings.NewReader("x"), -1, "", "", nil)
	wantFault(t, err, fault.Usage)
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}

func TestRunsOfflineAndLoggedOut(t *testing.T) {
	s := answers(t, 200, queued)
	o := options(t, s.URL)
	o.Offline = true
	for name, err := range all(client(t, o)) {
		if e := wantFailure(t, err, FailOffline, "offline"); !e.Definite {
			t.Errorf("%s: not definite", name)
		}
	}
	o.Offline, o.Token = false, ""
	for name, err := range all(client(t, o)) {
		if e := wantFailure(t, err, FailUnauthorized, "not logged in", "`carl camp login`"); !e.Definite || e.Fault().Code != fault.CampUnauthorized {
			t.Errorf("%s: %+v", name, e)
		}
	}
	o.Token, o.Paths.Runs, o.Paths.Resonants = bearer, "", "/a/../b"
	for _, err := range all(client(t, o)) {
		if _, usage := err.(*fault.Error); !usage {
			wantFailure(t, err, FailRefused)
		}
	}
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}

func TestRunStatuses(t *testing.T) {
	for _, w := range []struct {
		status   int
		want     Failure
		definite bool
		code     fault.Code
	}{
		{400, FailInvalid, true, fault.CampInvalid}, {401, FailUnauthorized, true, fault.CampUnauthorized},
		{402, FailDenied, true, fault.GateTierDenied}, {403, FailDenied, true, fault.GateTierDenied},
		{404, FailNotFound, true, fault.CampRefused}, {405, FailRefused, true, fault.CampRefused}, {408, FailUnavailable, false, fault.CampUnreachable},
		{409, FailConflict, true, fault.CampRefused}, {410, FailRefused, true, fault.CampRefused}, {413, FailTooLarge, true, fault.CampInvalid},
		{422, FailInvalid, true, fault.CampInvalid}, {425, FailUnavailable, true, fault.CampUnreachable}, {429, FailThrottled, true, fault.CampUnreachable},
		{451, FailRefused, true, fault.CampRefused}, {500, FailUnavailable, false, fault.CampUnreachable}, {502, FailUnavailable, false, fault.CampUnreachable},
		{503, FailUnavailable, false, fault.CampUnreachable}, {504, FailUnavailable, false, fault.CampUnreachable}, {599, FailUnavailable, false, fault.CampUnreachable},
		{202, FailMalformed, false, fault.CampMalformed}, {203, FailMalformed, false, fault.CampMalformed}, {204, FailMalformed, false, fault.CampMalformed},
		{206, FailMalformed, false, fault.CampMalformed}, {300, FailMalformed, false, fault.CampMalformed}, {304, FailMalformed, false, fault.CampMalformed},
		{302, FailMalformed, false, fault.CampMalformed}, {307, FailMalformed, false, fault.CampMalformed}, {600, FailMalformed, false, fault.CampMalformed},
	} {
		s := answers(t, w.status, `{"error":{"code":"the_code","message":"why","fields":[{"path":"/args","message":"bad"},{"path":"/argv/0","message":"worse"}]}}`, "Retry-After", "7")
		for name, err := range all(client(t, options(t, s.URL))) {
			e := wantFailure(t, err, w.want, "camp: "+s.URL+"/api/")
			if e.Status != w.status || e.Definite != w.definite || e.Fault().Code != w.code {
				t.Errorf("%d %s: %+v, %v", w.status, name, e, e.Fault())
			}
			if w.want == FailMalformed {
				continue
			}
			if e.Code != "the_code" || e.Message != "why" || e.RetryAfter != 7*time.Second || !strings.HasSuffix(e.Error(), fmt.Sprintf("answered %d: why", w.status)) ||
				!slices.Equal(e.Fields, []Field{{"/args", "bad"}, {"/argv/0", "worse"}}) || !strings.Contains(e.Fault().Message, "; /argv/0: worse") {
				t.Errorf("%d %s: %+v", w.status, name, e)
			}
		}
		if n := len(s.requests()); n != 4 {
			t.Errorf("%d: %d requests for 4 calls", w.status, n)
		}
	}
	// Reading a run has one good status.
	s := answers(t, 201, queued)
	_, err := client(t, options(t, s.URL)).Run(t.Context(), runA)
	wantFailure(t, err, FailMalformed, "201")
}

func TestRefusalsInAnotherForm(t *testing.T) {
	for _, body := range []string{"", "<html>", `{"error":"no"}`, `[]`, `{"error":{"message":5}}`, strings.Repeat(" ", 1<<20)} {
		s := answers(t, 422, body)
		_, _, err := client(t, options(t, s.URL)).SubmitRun(t.Context(), nil, "k")
		if e := wantFailure(t, err, FailInvalid, "answered 422"); e.Message != "" || e.Fields != nil {
			t.Errorf("%.40q: %+v", body, e)
		}
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf(`{"path":"/%d","message":"%s"}`, i, strings.Repeat("x", 400)))
	}
	s := answers(t, 422, `{"error":{"code":"c","message":"m","fields":[`+strings.Join(many, ",")+`]}}`)
	_, _, err := client(t, options(t, s.URL)).SubmitRun(t.Context(), nil, "k")
	if e := wantFailure(t, err, FailInvalid); len(e.Fields) != maxRefusalFields || len(e.Fields[0].Message) > maxRefusalText+3 {
		t.Errorf("%d fields", len(e.Fields))
	}
	// A compressed refusal is not read.
	s = answers(t, 402, `{"error":{"message":"m"}}`, "Content-Encoding", "gzip")
	_, _, err = client(t, options(t, s.URL)).SubmitRun(t.Context(), nil, "k")
	if e := wantFailure(t, err, FailDenied); e.Message != "" {
		t.Errorf("%+v", e)
	}
}

func TestRunAnswersEchoNoSecret(t *testing.T) {
	part := bearer[5:25]
	for _, status := range []int{401, 402, 422, 500} {
		s := answers(t, status, `{"error":{"code":"`+bearer+`","message":"you sent `+bearer+` and `+part+`\u001b[31m","fields":[{"path":"/`+part+`","message":"`+strings.ToUpper(bearer)+`"}]}}`)
		for _, err := range all(client(t, options(t, s.URL))) {
			e := wantFailure(t, err, map[int]Failure{401: FailUnauthorized, 402: FailDenied, 422: FailInvalid, 500: FailUnavailable}[status], "[redacted]")
			text := fmt.Sprint(e.Code, e.Message, e.Fields)
			if strings.Contains(strings.ToLower(text), strings.ToLower(part)) || strings.Contains(text, "\x1b") {
				t.Errorf("%s", text)
			}
		}
	}
	s := answers(t, 200, `{"run_id":"`+runA+`","status":"failed","error":"you sent `+bearer+`"}`)
	run, err := client(t, options(t, s.URL)).Run(t.Context(), runA)
	if err != nil || strings.Contains(run.Error, part) || !strings.Contains(run.Error, redacted) {
		t.Errorf("%+v, %v", run, err)
	}
	for _, body := range []string{`{"run_id":"` + runA + `","status":"` + bearer + `"}`, `{"run_id":"` + runA + `","status":"x","resonant_id":"` + bearer + `"}`} {
		s := answers(t, 200, body)
		_, err := client(t, options(t, s.URL)).Run(t.Context(), runA)
		wantFailure(t, err, FailMalformed)
	}
	s = answers(t, 201, `{"resonant_id":"`+bearer+`"}`)
	_, err = client(t, options(t, s.URL)).PublishResonant(t.Context(), strings.NewReader("x"), 1, "", "", nil)
	wantFailure(t, err, FailMalformed)
}

// badRuns are answers about a run that are not believed.
var badRuns = []string{
	"", "null", "[]", `"x"`, "{", "{}", queued + "x", queued + queued, "<html>", "\xff",
	`{"run_id":"` + runA + `"}`, `{"status":"queued"}`, `{"run_id":null,"status":"queued"}`, `{"run_id":"` + runA + `","status":null}`,
	`{"run_id":7,"status":"queued"}`, `{"run_id":"` + runA[1:] + `","status":"queued"}`, `{"run_id":"` + runA + ` ","status":"queued"}`,
	`{"run_id":"` + runA + `","run_id":"` + runA + `","status":"queued"}`, `{"RUN_ID":"` + runA + `","status":"queued"}`,
	`{"run_id":"` + runA + `","status":""}`, `{"run_id":"` + runA + `","status":" queued"}`, `{"run_id":"` + runA + `","status":"que\nued"}`,
	`{"run_id":"` + runA + `","status":"que\u001bued"}`, `{"run_id":"` + runA + `","status":"que\u202eued"}`, `{"run_id":"` + runA + `","status":"` + strings.Repeat("x", 65) + `"}`,
	`{"run_id":"` + runA + `","status":"running","progress":1.01}`, `{"run_id":"` + runA + `","status":"running","progress":-0.1}`,
	`{"run_id":"` + runA + `","status":"running","progress":"0.5"}`, `{"run_id":"` + runA + `","status":"running","progress":1e999}`,
	`{"run_id":"` + runA + `","status":"running","step":-1}`, `{"run_id":"` + runA + `","status":"running","step":1.5}`, `{"run_id":"` + runA + `","status":"running","total_steps":-1}`,
	`{"run_id":"` + runA + `","status":"running","total_steps":99999999999999999999}`,
	`{"run_id":"` + runA + `","status":"running","resonant_id":""}`, `{"run_id":"` + runA + `","status":"running","resonant_id":"a b"}`,
	`{"run_id":"` + runA + `","status":"running","resonant_id":"` + strings.Repeat("r", 129) + `"}`, `{"run_id":"` + runA + `","status":"running","error":{}}`,
}

func TestMalformedRuns(t *testing.T) {
	for _, body := range badRuns {
		for _, status := range []int{200, 201} {
			s := answers(t, status, body)
			c := client(t, options(t, s.URL))
			_, _, err := c.SubmitRun(t.Context(), nil, "k")
			if e := wantFailure(t, err, FailMalformed, "expected was "+wantStarted); e.Status != status || e.Definite {
				t.Errorf("%s: %+v", body, e)
			}
			if status == 200 {
				_, err = c.Run(t.Context(), runA)
				wantFailure(t, err, FailMalformed, "expected was {")
			}
		}
		s := answers(t, 200, `{"runs":[`+strings.Replace(queued, runA, runB, 1)+","+body+`]}`)
		_, err := client(t, options(t, s.URL)).Runs(t.Context())
		if body != "" || err == nil {
			wantFailure(t, err, FailMalformed, "expected was {")
		}
	}
	for _, body := range []string{"", "null", "{}", "[]", `{"runs":null}`, `{"runs":{}}`, `{"runs":[` + queued + "," + queued + `]}`, `{"runs":[null]}`} {
		s := answers(t, 200, body)
		_, err := client(t, options(t, s.URL)).Runs(t.Context())
		wantFailure(t, err, FailMalformed, "expected was {")
	}
	for _, body := range []string{"", "null", "{}", "[]", `{"resonant_id":null}`, `{"resonant_id":""}`, `{"resonant_id":7}`, `{"resonant_id":"é"}`, `{"resonant_id":"a","resonant_id":"b"}`} {
		s := answers(t, 201, body)
		_, err := client(t, options(t, s.URL)).PublishResonant(t.Context(), strings.NewReader("x"), 1, "", "", nil)
		wantFailure(t, err, FailMalformed, "expected was "+wantResonant)
	}
	// Another run than the one that was asked for.
	s := answers(t, 200, queued)
	_, err := client(t, options(t, s.URL)).Run(t.Context(), runB)
	wantFailure(t, err, FailMalformed, "another")
	// No runs is a list.
	s = answers(t, 200, `{"runs":[]}`)
	if runs, err := client(t, options(t, s.URL)).Runs(t.Context()); err != nil || len(runs) != 0 {
		t.Errorf("%v, %v", runs, err)
	}
}

// TestRunNetwork has each call meet what is no answer: it ends, says so, and
// was made once.
func TestRunNetwork(t *testing.T) {
	head := "HTTP/1.1 201 Created\r\n"
	for name, c := range map[string]struct {
		answer func(net.Conn)
		want   Failure
	}{
		"nothing":            {func(net.Conn) {}, FailNetwork},
		"half a status":      {says("HTTP/1."), FailNetwork},
		"no HTTP":            {says("SSH-2.0-OpenSSH_9.6\r\n\r\n"), FailNetwork},
		"half the fields":    {says(head + "Content-Le"), FailNetwork},
		"half a body":        {says(head + "Content-Length: 99\r\n\r\n" + queued), FailNetwork},
		"half a chunk":       {says(head + "Transfer-Encoding: chunked\r\n\r\n20\r\n{"), FailNetwork},
		"two lengths":        {says(head + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), FailNetwork},
		"too many fields":    {says(head + "X: " + strings.Repeat("x", maxFields+1) + "\r\n\r\n"), FailMalformed},
		"a huge body":        {says(head + "\r\n" + strings.Repeat(" ", maxRunList+1)), FailMalformed},
		"a compressed body":  {says(head + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), FailMalformed},
		"an interim, no end": {says("HTTP/1.1 103 Early Hints\r\n\r\n"), FailNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			var connections atomic.Int32
			address := "http://" + listen(t, func(conn net.Conn) {
				connections.Add(1)
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				io.Copy(io.Discard, r.Body)
				c.answer(conn)
			})
			cl := client(t, options(t, address))
			for _, call := range []func() error{
				func() error { _, _, err := cl.SubmitRun(t.Context(), []byte("{}"), "k"); return err },
				func() error {
					_, err := cl.PublishResonant(t.Context(), strings.NewReader("weights"), 7, "", "k", nil)
					return err
				},
			} {
				if e := wantFailure(t, call(), c.want, address); e.Definite {
					t.Errorf("%v is definite", e)
				}
			}
			if n := connections.Load(); n != 2 {
				t.Errorf("%d connections for 2 calls", n)
			}
		})
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	for name, err := range all(client(t, options(t, "http://"+ln.Addr().String()))) {
		if e := wantFailure(t, err, FailNetwork, "refused"); !e.Definite {
			t.Errorf("%s: nothing was sent, and it is not definite", name)
		}
	}
	// Speaking TLS to what does not: the request was never on its way.
	for name, err := range all(client(t, options(t, "https://"+listen(t, says("no TLS here"))))) {
		if e := wantFailure(t, err, FailNetwork, "TLS"); !e.Definite {
			t.Errorf("%s: nothing was sent, and it is not definite", name)
		}
	}
}

func TestRunTimeouts(t *testing.T) {
	slow := func(conn net.Conn) {
		for _, c := range []byte("HTTP/1.1 201 Created\r\nContent-Length: 999\r\n\r\n" + strings.Repeat(" ", 900)) {
			if _, err := conn.Write([]byte{c}); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	for name, handle := range map[string]func(net.Conn){"silent": untilGone, "slow": slow} {
		address := raw(t, handle)
		c := client(t, options(t, address))
		c.timeout, c.idle = 100*time.Millisecond, 100*time.Millisecond
		for call, err := range all(c) {
			if e := wantFailure(t, err, FailNetwork, "100ms"); e.Definite || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s %s: %+v", name, call, e)
			}
		}
		c.timeout, c.idle = hang, hang
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, _, err := c.SubmitRun(ctx, nil, "k")
		if e := wantFailure(t, err, FailEnded, "not waited for"); !errors.Is(err, context.DeadlineExceeded) || e.Definite {
			t.Errorf("%s: %v", name, err)
		}
		gone, stop := context.WithCancel(t.Context())
		stop()
		_, err = c.PublishResonant(gone, strings.NewReader("x"), 1, "", "", nil)
		if e := wantFailure(t, err, FailEnded); !errors.Is(err, context.Canceled) || !e.Definite {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRunRedirects(t *testing.T) {
	elsewhere := answers(t, 200, queued)
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := answers(t, status, "", "Location", elsewhere.URL+"/api/training/slime/runs")
		for _, err := range all(client(t, options(t, s.URL))) {
			wantFailure(t, err, FailMalformed, "redirects to another site")
		}
		// To the own origin, only what is asked for is taken further.
		own := serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if strings.HasPrefix(r.URL.Path, "/new") {
				io.WriteString(w, queued)
				return
			}
			w.Header().Set("Location", "/new"+r.URL.Path)
			w.WriteHeader(status)
		})
		c := client(t, options(t, own.URL))
		for call, err := range all(c) {
			switch call {
			case "run":
				if err != nil {
					t.Errorf("%d: %v", status, err)
				}
			case "submit", "publish":
				wantFailure(t, err, FailMalformed, "redirects", "`camp.paths`")
			}
		}
		for _, r := range own.requests() {
			if strings.HasPrefix(r.URL.Path, "/new") && r.Method != "GET" {
				t.Errorf("%d: %s %s", status, r.Method, r.URL.Path)
			}
		}
	}
	round := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
	_, err := client(t, options(t, round.URL)).Run(t.Context(), runA)
	wantFailure(t, err, FailMalformed, "more than 3 times")
	if n := len(elsewhere.requests()); n != 0 {
		t.Errorf("%d requests reached another site", n)
	}
}

func TestRetryAfter(t *testing.T) {
	for field, want := range map[string]time.Duration{
		"": 0, "0": 0, "5": 5 * time.Second, " 5 ": 5 * time.Second, "3600": time.Hour, "3601": time.Hour, "99999999999999999999999": time.Hour, "18446744073709551615": time.Hour,
		"-5": 0, "5.5": 0, "soon": 0, "Mon, 01 Jan 2001 00:00:00 GMT": 0, "Fri, 31 Dec 2199 23:59:59 GMT": time.Hour, "1e3": 0, "+5": 0,
	} {
		if got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {field}}}); got != want {
			t.Errorf("%q: %v, want %v", field, got, want)
		}
	}
	in := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	if got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {in}}}); got < 80*time.Second || got > 90*time.Second {
		t.Errorf("%s: %v", in, got)
	}
}

func FuzzRunAnswer(f *testing.F) {
	seeds := append([]string{queued, `{"runs":[` + queued + `]}`, `{"run_id":"` + runA + `","status":"x","progress":1,"step":0,"total_steps":9,"resonant_id":"r","error":"e"}`}, badRuns...)
	if len(seeds) == 0 {
		f.Fatal("the seed corpus is empty")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	c := &Client{token: bearer}
	check := func(t *testing.T, text []byte, run Run) {
		if !isUUID(run.ID) || !isStatus(run.Status) || run.Progress != nil && !(*run.Progress >= 0 && *run.Progress <= 1) ||
			run.Step != nil && *run.Step < 0 || run.TotalSteps != nil && *run.TotalSteps < 0 ||
			run.ResonantID != "" && !visible(run.ResonantID, maxResonantID) || strings.ContainsFunc(run.Error, unicode.IsControl) {
			t.Fatalf("%q gives %+v", text, run)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		run, err := c.readRun(text, "")
		if err == nil {
			check(t, text, run)
			// Another decoder reads the same run out of it.
			var other map[string]any
			if err := stdjson.Unmarshal(text, &other); err != nil || fold(fmt.Sprint(other["run_id"])) != run.ID || other["status"] != run.Status {
				t.Fatalf("%q gives %+v, and %v, %v", text, run, other, err)
			}
			if _, err := c.readRun(text, runB); err == nil && run.ID != runB {
				t.Fatalf("%q is taken for another run", text)
			}
		} else if strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Fatalf("%q", err)
		}
		if runs, err := c.readRuns(text); err == nil {
			for _, run := range runs {
				check(t, text, run)
			}
		}
	})
}

func TestPublishSizes(t *testing.T) {
	broken := errors.New("the disk is gone")
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err != nil || n != r.ContentLength {
			w.WriteHeader(400)
			return
		}
		io.WriteString(w, `{"resonant_id":"r"}`)
	})
	c := client(t, options(t, s.URL))
	publish := func(r io.Reader, size int64) error {
		var last int64
		_, err := c.PublishResonant(t.Context(), r, size, "", "", func(sent int64) {
			if sent <= last || sent > size {
				t.Errorf("%d of %d after %d", sent, size, last)
			}
			last = sent
		})
		if err == nil && last != size {
			t.Errorf("told of %d of %d", last, size)
		}
		return err
	}
	big := bytes.Repeat([]byte("x"), 1<<20)
	for name, r := range map[string]io.Reader{
		"a buffer": bytes.NewReader(big), "one byte": iotest.OneByteReader(bytes.NewReader(big[:5000])), "half": iotest.HalfReader(bytes.NewReader(big)),
		"an early end": iotest.DataErrReader(bytes.NewReader(big)), "nothing": strings.NewReader(""),
	} {
		size := int64(len(big))
		switch name {
		case "one byte":
			size = 5000
		case "nothing":
			size = 0
		}
		if err := publish(r, size); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, w := range map[string]struct {
		r    io.Reader
		size int64
		want error
	}{
		"it shrank":           {bytes.NewReader(big), int64(len(big)) + 1, errShrank},
		"it is empty":         {strings.NewReader(""), 1, errShrank},
		"it grew":             {bytes.NewReader(big), int64(len(big)) - 1, errGrew},
		"it grew of nothing":  {strings.NewReader("x"), 0, errGrew},
		"it fails":            {io.MultiReader(bytes.NewReader(big), iotest.ErrReader(broken)), 2 << 20, broken},
		"it fails at the end": {io.MultiReader(bytes.NewReader(big), iotest.ErrReader(broken)), 1 << 20, broken},
		"it fails at once":    {iotest.ErrReader(broken), 1, broken},
	} {
		err := publish(w.r, w.size)
		if e := wantFailure(t, err, FailSource, "could not be read"); !errors.Is(err, w.want) || !e.Definite || e.Fault().Code != fault.IO {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPublishInFlatMemory sends more than may be held.
func TestPublishInFlatMemory(t *testing.T) {
	const size = 64 << 20
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, `{"resonant_id":"r"}`)
	})
	c := client(t, options(t, s.URL))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := c.PublishResonant(t.Context(), io.LimitReader(nothings{}, size), size, "", "", nil); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes were allocated to send %d", n, size)
	}
}

func TestPublishIsRefusedEarly(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(413)
		io.WriteString(w, `{"error":{"code":"too_large","message":"at most 1 GiB"}}`)
	})
	c := client(t, options(t, s.URL))
	var told atomic.Int64
	_, err := c.PublishResonant(t.Context(), nothings{}, 1<<40, "", "", func(sent int64) { told.Store(sent) })
	wantFailure(t, err, FailTooLarge, "at most 1 GiB")
	// Neither the reader nor progress is used any more.
	before := told.Load()
	time.Sleep(20 * time.Millisecond)
	if now := told.Load(); now != before {
		t.Errorf("told of %d, then of %d", before, now)
	}
}

// TestPublishIsRefusedRudely has the platform answer, and reset the connection
// while the body is still coming.
func TestPublishIsRefusedRudely(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what came before a reset can be read on Linux; other systems may drop it")
	}
	for range 20 {
		address := raw(t, func(conn net.Conn) {
			body := `{"error":{"code":"too_large","message":"at most 1 GiB"}}`
			fmt.Fprintf(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			conn.(*net.TCPConn).SetLinger(0)
		})
		_, err := client(t, options(t, address)).PublishResonant(t.Context(), nothings{}, 1<<40, "", "", nil)
		wantFailure(t, err, FailTooLarge, "at most 1 GiB")
	}
	// Where there is no answer, nothing waits for one.
	began := time.Now()
	address := raw(t, func(conn net.Conn) { conn.(*net.TCPConn).SetLinger(0) })
	_, err := client(t, options(t, address)).PublishResonant(t.Context(), nothings{}, 1<<40, "", "", nil)
	if wantFailure(t, err, FailNetwork); time.Since(began) > linger/2 {
		t.Errorf("it took %v", time.Since(began))
	}
}

func TestPublishStalls(t *testing.T) {
	address := raw(t, func(conn net.Conn) { time.Sleep(300 * time.Millisecond) })
	c := client(t, options(t, address))
	c.idle = 100 * time.Millisecond
	_, err := c.PublishResonant(t.Context(), nothings{}, 1<<40, "", "", nil)
	wantFailure(t, err, FailNetwork, "took nothing more")
	// As long as something moves, it goes on for longer than that.
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"resonant_id":"r"}`)
	})
	c = client(t, options(t, s.URL))
	c.idle = 500 * time.Millisecond
	began := time.Now()
	slow := readerFunc(func(p []byte) (int, error) {
		time.Sleep(60 * time.Millisecond)
		return 1, nil
	})
	if _, err := c.PublishResonant(t.Context(), io.LimitReader(slow, 12), 12, "", "", nil); err != nil || time.Since(began) < c.idle {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// nothings are as many bytes as are asked for.
type nothings struct{}

func (nothings) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
