package plugins_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// overNet is the http import without the host's rules.
func overNet(q request) (*response, *httpError) {
	req, err := http.NewRequest(q.method, q.url, bytes.NewReader(q.body))
	if err != nil {
		return nil, &httpError{0, err.Error()}
	}
	for _, h := range q.headers {
		req.Header.Add(h[0], h[1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, &httpError{3, err.Error()}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, &httpError{3, err.Error()}
	}
	out := &response{status: uint16(res.StatusCode), body: body}
	for name, values := range res.Header {
		for _, v := range values {
			out.headers = append(out.headers, [2]string{strings.ToLower(name), v})
		}
	}
	return out, nil
}

// TestCampModule runs the built forwarder against a server that stores the
// first event, knows the second, refuses the third, and then misbehaves.
func TestCampModule(t *testing.T) {
	status, headers := 200, map[string]string{}
	received := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var batch []json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
			t.Errorf("the batch is not a JSON array: %v", err)
		}
		for name, v := range headers {
			w.Header().Set(name, v)
		}
		w.WriteHeader(status)
		if status != 200 {
			io.WriteString(w, `{"error":{"code":"x.y","message":"not now"}}`)
			return
		}
		var results []string
		for i, text := range batch {
			var e struct{ ID string }
			if err := json.Unmarshal(text, &e); err != nil {
				t.Error(err)
			}
			received[e.ID] = string(text)
			results = append(results, fmt.Sprintf(`{"id":%q,"status":%q,"reason":"because"}`, e.ID, []string{"accepted", "duplicate", "rejected"}[i%3]))
		}
		io.WriteString(w, `{"results":[`+strings.Join(results, ",")+`]}`)
	}))
	defer server.Close()
	in := instantiate(t, module(t, "./plugins/forward/camp"), host{send: overNet})
	if f := in.open(`{"url":"` + server.URL + `","signals_path":"/in"}`); f != nil {
		t.Fatal(f)
	}
	events := []event{
		{id: "one", kind: "interaction.created", body: `{"id":"one","data":{"t":"ü"}}`},
		{id: "two", body: `{"id":"two"}`},
		{id: "three", body: `{"id":"three"}`},
	}
	got, f := in.deliver(0, events)
	if f != nil || len(got) != 3 || got[0] != (outcome{0, ""}) || got[1] != (outcome{1, ""}) || got[2] != (outcome{2, "because"}) {
		t.Errorf("outcomes %v, failure %+v", got, f)
	}
	for _, e := range events {
		if received[e.id] != e.body {
			t.Errorf("event %s arrived as %q, want %q", e.id, received[e.id], e.body)
		}
	}

	// A date two minutes from now: the guest has to know what time it is.
	for _, c := range []struct {
		status   int
		headers  map[string]string
		kind     byte
		min, max uint64
	}{
		{401, nil, 1, 0, 0},
		{404, nil, 3, 0, 0},
		{413, nil, 2, 0, 0},
		{422, nil, 4, 0, 0},
		{429, map[string]string{"Retry-After": "9"}, 0, 9000, 9000},
		{503, map[string]string{"Retry-After": time.Now().Add(2 * time.Minute).UTC().Format(http.TimeFormat)}, 0, 1, 120_000},
		{500, nil, 0, 0, 0},
	} {
		status, headers = c.status, c.headers
		got, f := in.deliver(0, events)
		if got != nil || f == nil || f.kind != c.kind || f.retryAfter < c.min || f.retryAfter > c.max {
			t.Errorf("%d: outcomes %v, failure %+v; want kind %d, a wait from %d to %d ms", c.status, got, f, c.kind, c.min, c.max)
			continue
		}
		if want := fmt.Sprintf("the platform answered %d: not now (x.y)", c.status); f.message != want {
			t.Errorf("%d: message %q, want %q", c.status, f.message, want)
		}
	}
	server.Close()
	if got, f := in.deliver(0, events); got != nil || f == nil || f.kind != 0 {
		t.Errorf("no server: outcomes %v, failure %+v", got, f)
	}
	if got, f := in.deliver(1, events); got != nil || f == nil || f.kind != 0 {
		t.Errorf("no server for the ledger: outcomes %v, failure %+v", got, f)
	}
}

func TestJSONLModule(t *testing.T) {
	dir := t.TempDir()
	in := instantiate(t, module(t, "./plugins/forward/jsonl"), host{append: func(path string, data []byte) string {
		f, err := os.OpenFile(filepath.Join(dir, path), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err.Error()
		}
		defer f.Close()
		if _, err := f.Write(data); err != nil {
			return err.Error()
		}
		return ""
	}})
	if f := in.open(`{"file":"../out"}`); f == nil || f.kind != 3 {
		t.Errorf("a path that leaves the folder: %+v", f)
	}
	if f := in.open(`{"file":"no/such/folder.jsonl"}`); f != nil {
		t.Fatal(f)
	}
	if got, f := in.deliver(0, []event{{id: "a", body: `{}`}}); got != nil || f == nil || f.kind != 0 || !strings.Contains(f.message, "no/such/folder.jsonl") {
		t.Errorf("an append that fails: %v, %+v", got, f)
	}
	if f := in.open(`{"file":"out.jsonl"}`); f != nil {
		t.Fatal(f)
	}
	got, f := in.deliver(0, []event{{id: "a", body: `{"id":"a"}`}, {id: "b", body: "{\n}"}, {id: "c", body: `{"id":"ü"}`}})
	if f != nil || len(got) != 3 || got[0].kind != 0 || got[1].kind != 2 || got[2].kind != 0 {
		t.Errorf("outcomes %v, failure %+v", got, f)
	}
	want := "{\"id\":\"a\"}\n{\"id\":\"ü\"}\n"
	if text, err := os.ReadFile(filepath.Join(dir, "out.jsonl")); err != nil || string(text) != want {
		t.Errorf("the file holds %q (%v), want %q", text, err, want)
	}
}
