package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/sdk/forwarder"
	"carl.camp/carl/sdk/http"
)

// overNet sends as the host would, without its rules.
func overNet(r http.Request) (*http.Response, error) {
	req, err := nethttp.NewRequest(r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return nil, &http.Error{Kind: http.Denied, Text: err.Error()}
	}
	for _, h := range r.Headers {
		req.Header.Add(h.Name, h.Value)
	}
	res, err := nethttp.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, &http.Error{Kind: http.Network, Text: err.Error()}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, &http.Error{Kind: http.Network, Text: err.Error()}
	}
	out := &http.Response{Status: res.StatusCode, Body: body}
	for name, values := range res.Header {
		for _, v := range values {
			out.Headers = append(out.Headers, http.Header{Name: name, Value: v})
		}
	}
	return out, nil
}

var testNow = time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)

// connected returns a forwarder that is open on a server which answers with handler.
func connected(t *testing.T, handler nethttp.HandlerFunc) *platform {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	p := &platform{send: overNet, now: func() time.Time { return testNow }}
	if err := p.Open(`{"url":"` + server.URL + `"}`); err != nil {
		t.Fatal(err)
	}
	return p
}

func events(ids ...string) []forwarder.Event {
	var list []forwarder.Event
	for _, id := range ids {
		list = append(list, forwarder.Event{ID: id, Body: []byte(`{"id":"` + id + `"}`)})
	}
	return list
}

func failureOf(t *testing.T, err error) *forwarder.Failure {
	t.Helper()
	var f *forwarder.Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, not a failure", err)
	}
	return f
}

func TestRequest(t *testing.T) {
	var asked *nethttp.Request
	var batch []map[string]string
	p := connected(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		asked = r
		if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, `{"results":[{"id":"b","status":"duplicate"},{"id":"a","status":"accepted"}]}`)
	})
	got, err := p.Deliver(forwarder.Signals, events("a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	// In the order of the events, whatever the order of the results.
	if want := []forwarder.Outcome{forwarder.Accepted(""), forwarder.Duplicate()}; !reflect.DeepEqual(got, want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
	if asked.Method != "POST" || asked.URL.Path != "/api/axon/signals" || asked.Header.Get("Content-Type") != "application/cloudevents-batch+json" {
		t.Errorf("sent %s %s as %s", asked.Method, asked.URL, asked.Header.Get("Content-Type"))
	}
	if want := []map[string]string{{"id": "a"}, {"id": "b"}}; !reflect.DeepEqual(batch, want) {
		t.Errorf("sent %v, want %v", batch, want)
	}
	if got, err := p.Deliver(forwarder.Signals, nil); err != nil || len(got) != 0 {
		t.Errorf("no events: %v, %v", got, err)
	}
}

// TestAnswers gives every kind of answer to a batch of a, b and c. Nothing but
// a plain, complete word of the platform may count as delivered.
func TestAnswers(t *testing.T) {
	const unanswered = "retry: the platform's answer says nothing about this event"
	for body, want := range map[string]string{
		`{"results":[{"id":"a","status":"accepted"},{"id":"b","status":"rejected","reason":"no"},{"id":"c","status":"duplicate"}],"more":1}`: "accepted|rejected: no|duplicate",
		`{"results":[{"id":"a","status":"accepted","reason":null},{"id":"b","status":"rejected"}]}`:                                          "accepted|rejected: the platform gave no reason|" + unanswered,
		`{"results":[{"id":"a","status":"accepted","have":"x"},{"id":"b","status":"rejected","reason":"conflict","have":"00ff"}]}`:           "accepted|conflict: 00ff|" + unanswered,
		`{"results":[{"id":"a","status":"Accepted"},{"id":"b","status":""},{"id":"c","status":"ok"}]}`: `retry: the platform answered with an unknown status, "Accepted"|` +
			`retry: the platform answered with an unknown status, ""|retry: the platform answered with an unknown status, "ok"`,
		`{"results":[]}`: unanswered + "|" + unanswered + "|" + unanswered,
		`{"results":[{"id":"c","status":"rejected","reason":"` + strings.Repeat("é", 1000) + `\u0000\n"}]}`: unanswered + "|" + unanswered + "|rejected: " + strings.Repeat("é", 150) + "…",

		``:                                    "not believed",
		`ok`:                                  "not believed",
		`null`:                                "not believed",
		`[]`:                                  "not believed",
		`{}`:                                  "not believed",
		`{"results":null}`:                    "not believed",
		`{"results":{}}`:                      "not believed",
		`{"results":[null]}`:                  "not believed",
		`{"results":[[]]}`:                    "not believed",
		`{"results":["accepted"]}`:            "not believed",
		`{"results":[{}]}`:                    "not believed",
		`{"results":[{"id":"a"}]}`:            "not believed",
		`{"results":[{"status":"accepted"}]}`: "not believed",
		`{"results":[{"id":1,"status":"accepted"}]}`:                                  "not believed",
		`{"results":[{"id":"a","status":true}]}`:                                      "not believed",
		`{"results":[{"id":"a","status":"rejected","reason":1}]}`:                     "not believed",
		`{"results":[{"id":"d","status":"accepted"}]}`:                                "not believed",
		`{"results":[{"id":"a","status":"accepted"},{"id":"a","status":"accepted"}]}`: "not believed",
		`{"results":[{"id":"a","status":"rejected"},{"id":"a","status":"accepted"}]}`: "not believed",
		`{"results":[{"id":"a","status":"rejected","status":"accepted"}]}`:            "not believed",
		`{"results":[{"id":"b","id":"a","status":"accepted"}]}`:                       "not believed",
		`{"results":[],"results":[{"id":"a","status":"accepted"}]}`:                   "not believed",
		`{"results":[{"id":"a","status":"accepted"},{"id":"b","status":"acc`:          "not believed",
		`{"results":[{"id":"a","status":"accepted"}]} {"results":[]}`:                 "not believed",
		`{"results":[{"id":"a","status":"accepted"}]}` + "\x00":                       "not believed",
		"{\"results\":[{\"id\":\"a\xff\",\"status\":\"accepted\"}]}":                  "not believed",
		`{"results":` + strings.Repeat("[", 100_000):                                  "not believed",
		`<html>captive portal</html>`:                                                 "not believed",
	} {
		p := connected(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) { io.WriteString(w, body) })
		got, err := p.Deliver(forwarder.Signals, events("a", "b", "c"))
		if want == "not believed" {
			if got != nil {
				t.Errorf("%.200q was believed: %v", body, got)
			}
			f := failureOf(t, err)
			if f.Kind != forwarder.Unavailable || !strings.HasPrefix(f.Message, "the platform's answer cannot be believed: ") {
				t.Errorf("%.200q failed with %v", body, f)
			}
			continue
		}
		if err != nil {
			t.Errorf("%.200q failed: %v", body, err)
			continue
		}
		var words []string
		for _, o := range got {
			words = append(words, o.String())
		}
		if joined := strings.Join(words, "|"); joined != want {
			t.Errorf("%.200q gave\n%s, want\n%s", body, joined, want)
		}
	}
}

func TestSameIDTwiceInBatch(t *testing.T) {
	p := connected(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		io.WriteString(w, `{"results":[{"id":"a","status":"accepted"}]}`)
	})
	got, err := p.Deliver(forwarder.Signals, events("a", "a"))
	if err != nil || len(got) != 2 || got[0] != forwarder.Accepted("") || got[1] != got[0] {
		t.Errorf("outcomes %v, %v", got, err)
	}
}

func TestStatuses(t *testing.T) {
	want := map[int]forwarder.Kind{
		201: forwarder.Unavailable, 202: forwarder.Unavailable, 204: forwarder.Unavailable,
		301: forwarder.Misconfigured, 304: forwarder.Misconfigured, 307: forwarder.Misconfigured,
		400: forwarder.RejectedBatch, 401: forwarder.Unauthorized, 402: forwarder.Unauthorized,
		403: forwarder.Unauthorized, 404: forwarder.Misconfigured, 405: forwarder.Misconfigured,
		408: forwarder.Unavailable, 409: forwarder.RejectedBatch, 410: forwarder.Misconfigured,
		413: forwarder.TooLarge, 415: forwarder.Misconfigured, 422: forwarder.RejectedBatch,
		425: forwarder.Unavailable, 429: forwarder.Unavailable,
		500: forwarder.Unavailable, 501: forwarder.Unavailable, 502: forwarder.Unavailable,
		503: forwarder.Unavailable, 504: forwarder.Unavailable, 599: forwarder.Unavailable,
	}
	for status, kind := range want {
		p := connected(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			if status != 204 && status != 304 {
				// An answer that looks like success changes nothing.
				io.WriteString(w, `{"results":[{"id":"a","status":"accepted"},{"id":"b","status":"accepted"}]}`)
			}
		})
		got, err := p.Deliver(forwarder.Signals, events("a", "b"))
		if got != nil {
			t.Errorf("%d gave outcomes %v", status, got)
		}
		f := failureOf(t, err)
		if f.Kind != kind || !strings.Contains(f.Message, fmt.Sprint(status)) {
			t.Errorf("%d failed with %v, want kind %v", status, f, kind)
		}
		// Of a refusal that no other token mends, carl is told so.
		if not := status == 402 || status == 403; strings.HasPrefix(f.Message, "not allowed: ") != not {
			t.Errorf("%d failed with %v", status, f)
		}
		wait := uint64(0)
		if status == 408 || status == 425 || status == 429 || status >= 500 {
			wait = 7000
		}
		if f.RetryAfterMS != wait {
			t.Errorf("%d asks for a wait of %d ms, want %d", status, f.RetryAfterMS, wait)
		}
	}
}

func TestConflictOfOneEvent(t *testing.T) {
	for body, want := range map[string]forwarder.Outcome{
		`{"have":"00ff"}`:             forwarder.Conflict("00ff"),
		`{"seq":1,"have":"a\u0007b"}`: forwarder.Conflict("a b"),
		`{"have":1}`:                  forwarder.Conflict(""),
		`gone`:                        forwarder.Conflict(""),
	} {
		p := connected(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			w.WriteHeader(409)
			io.WriteString(w, body)
		})
		got, err := p.Deliver(forwarder.Signals, events("a"))
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("409 with %s gave %v, %v", body, got, err)
		}
	}
}

func TestExplanation(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":{"code":"bad_signal","message":"wrong\ntype","fields":[{"path":"/3/type","message":"unknown"},{"path":"/4"}]}}`: `the platform answered 422: wrong type; at "/3/type": unknown (bad_signal)`,
		`{"error":{"code":"x"}}`: "the platform answered 422 (x)",
		`{"error":"x"}`:          "the platform answered 422",
		`{"error":{"message":"` + strings.Repeat("m", 5000) + `"}}`: "the platform answered 422: " + strings.Repeat("m", maxShown) + "…",
		`{"error":{"message":5,"fields":[1]}}`:                      "the platform answered 422",
		`<html>`:                                                    "the platform answered 422",
	} {
		p := connected(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			w.WriteHeader(422)
			io.WriteString(w, body)
		})
		_, err := p.Deliver(forwarder.Signals, events("a", "b"))
		if f := failureOf(t, err); f.Message != want {
			t.Errorf("%.100s gave\n%q, want\n%q", body, f.Message, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	const week = 7 * 24 * 3600 * 1000
	for field, want := range map[string]uint64{
		"":                                  0,
		"0":                                 0,
		"120":                               120_000,
		"  3 ":                              3000,
		"-1":                                0,
		"+1":                                0,
		"1.5":                               0,
		"soon":                              0,
		"604801":                            week,
		"99999999999999999999999":           week,
		"Mon, 23 Nov 2026 04:00:30 GMT":     30_000,
		"Mon, 23 Nov 2026 03:59:30 GMT":     0,
		"Monday, 23-Nov-26 04:01:00 GMT":    60_000,
		"Mon Nov 23 04:00:05 2026":          5000,
		"Mon, 23 Nov 2099 04:00:30 GMT":     week,
		"Mon, 23 Nov 2026 04:00:30 +0900":   0,
		"Sat, 31 Feb 2026 04:00:30 GMT":     0,
		strings.Repeat("9", 1<<16):          week,
		strings.Repeat("Mon, 23 Nov ", 999): 0,
	} {
		if got := retryAfter(field, testNow); got != want {
			t.Errorf("Retry-After %.40q means %d ms, want %d", field, got, want)
		}
	}
	if got := retryAfter("Mon, 23 Nov 2026 04:00:01 GMT", testNow.Add(999_500*time.Microsecond)); got != 1 {
		t.Errorf("half a millisecond was rounded to %d ms, want 1", got)
	}
}

func TestUnsent(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind forwarder.Kind
	}{
		{&http.Error{Kind: http.Denied, Text: "https://carl.camp was not granted"}, forwarder.Misconfigured},
		{&http.Error{Kind: http.Denied, Text: `secret "camp-token" is not available`}, forwarder.Unauthorized},
		{&http.Error{Kind: http.Denied, Text: `secret "other" is not available`}, forwarder.Misconfigured},
		{&http.Error{Kind: http.Timeout}, forwarder.Unavailable},
		{&http.Error{Kind: http.TooLarge}, forwarder.Unavailable},
		{&http.Error{Kind: http.Network, Text: "connection refused"}, forwarder.Unavailable},
		{errors.New("something else"), forwarder.Unavailable},
	} {
		p := &platform{send: func(http.Request) (*http.Response, error) { return nil, c.err }, now: time.Now}
		if err := p.Open(`{"url":"https://carl.camp"}`); err != nil {
			t.Fatal(err)
		}
		_, err := p.Deliver(forwarder.Signals, events("a"))
		f := failureOf(t, err)
		if f.Kind != c.kind || f.Message == "" {
			t.Errorf("%v became %v", c.err, f)
		}
	}
}

// testKey is the public key of RFC 8032 §7.1, test 1.
const testKey = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"

func TestOpen(t *testing.T) {
	const signals, ledger = "https://carl.camp/api/axon/signals", "https://carl.camp/api/ledger/append"
	for settings, want := range map[string][3]string{
		`{"url":"https://carl.camp"}`:                                {signals, ledger},
		`{"url":"https://carl.camp/"}`:                               {signals, ledger},
		`{"url":"http://127.0.0.1:8080","signals_path":"/v2/in"}`:    {"http://127.0.0.1:8080/v2/in", "http://127.0.0.1:8080/api/ledger/append"},
		`{"url":"http://[::1]:80","signals_path":"/"}`:               {"http://[::1]:80/", "http://[::1]:80/api/ledger/append"},
		`{"url":"https://carl.camp","ledger":"/v2/blocks"}`:          {signals, "https://carl.camp/v2/blocks"},
		`{"url":"https://carl.camp","ledger_key":"` + testKey + `"}`: {signals, ledger, testKey},
		`{"ledger_key":"-_` + strings.Repeat("A", 41) + `","ledger":"/","signals_path":"/s","url":"https://carl.camp"}`: {
			"https://carl.camp/s", "https://carl.camp/", "-_" + strings.Repeat("A", 41)},
		``:                                      {},
		`{}`:                                    {},
		`[]`:                                    {},
		`{"url":""}`:                            {},
		`{"url":1}`:                             {},
		`{"url":"carl.camp"}`:                   {},
		`{"url":"ftp://carl.camp"}`:             {},
		`{"url":"https://"}`:                    {},
		`{"url":"https://a/b"}`:                 {},
		`{"url":"https://u:p@a"}`:               {},
		`{"url":"https://a?x"}`:                 {},
		`{"url":"https://a\u0000"}`:             {},
		`{"url":"https://a\r\nb"}`:              {},
		`{"url":"https://a","x":1}`:             {},
		`{"url":"https://a","token":"x"}`:       {},
		`{"url":"https://a","url":"https://b"}`: {},
		`{"url":"https://a","signals_path":"in"}`:        {},
		`{"url":"https://a","signals_path":"//evil/in"}`: {},
		`{"url":"https://a","signals_path":"/in?x=1"}`:   {},
		`{"url":"https://a","signals_path":null}`:        {},
		`{"url":"https://a","signals_path":"/a b"}`:      {},

		`{"url":"https://a","ledger":""}`:                                     {},
		`{"url":"https://a","ledger":"in"}`:                                   {},
		`{"url":"https://a","ledger":"//evil/in"}`:                            {},
		`{"url":"https://a","ledger":"/in?x=1"}`:                              {},
		`{"url":"https://a","ledger":"/in#x"}`:                                {},
		`{"url":"https://a","ledger":"/\\in"}`:                                {},
		`{"url":"https://a","ledger":"/a b"}`:                                 {},
		`{"url":"https://a","ledger":"/\r\nX: y"}`:                            {},
		`{"url":"https://a","ledger":"/ü"}`:                                   {},
		`{"url":"https://a","ledger":null}`:                                   {},
		`{"url":"https://a","ledger":["/in"]}`:                                {},
		`{"url":"https://a","ledger":"/a","ledger":"/b"}`:                     {},
		`{"url":"https://a","ledger_path":"/a"}`:                              {},
		`{"url":"https://a","ledger_key":""}`:                                 {},
		`{"url":"https://a","ledger_key":null}`:                               {},
		`{"url":"https://a","ledger_key":{"x":"` + testKey + `"}}`:            {},
		`{"url":"https://a","ledger_key":"` + testKey[:42] + `"}`:             {},
		`{"url":"https://a","ledger_key":"` + testKey + `="}`:                 {},
		`{"url":"https://a","ledger_key":"` + testKey + testKey + `"}`:        {},
		`{"url":"https://a","ledger_key":"+` + testKey[1:] + `"}`:             {},
		`{"url":"https://a","ledger_key":"/` + testKey[1:] + `"}`:             {},
		`{"url":"https://a","ledger_key":"\n` + testKey[1:] + `"}`:            {},
		`{"url":"https://a","ledger_key":"\u0000` + testKey[1:] + `"}`:        {},
		`{"url":"https://a","ledger_key":"ü` + testKey[2:] + `"}`:             {},
		`{"url":"https://a","ledger_key":"` + testKey[:42] + `p"}`:            {}, // the same bytes as with an o
		`{"url":"https://a","ledger_key":"` + testKey[:42] + `="}`:            {},
		`{"url":"https://a","ledger_key":"a","ledger_key":"` + testKey + `"}`: {},
	} {
		p := &platform{}
		err := p.Open(settings)
		if got := [3]string{p.signalsURL, p.ledgerURL, p.ledgerKey}; got != want {
			t.Errorf("Open(%s) posts to %q, want %q", settings, got, want)
		}
		if want[0] != "" {
			if err != nil {
				t.Errorf("Open(%s): %v", settings, err)
			}
			continue
		}
		if f := failureOf(t, err); f.Kind != forwarder.Misconfigured {
			t.Errorf("Open(%s) failed with %v", settings, f)
		}
		for _, topic := range []forwarder.Topic{forwarder.Signals, forwarder.Ledger} {
			if _, err := p.Deliver(topic, events("a")); failureOf(t, err).Kind != forwarder.Misconfigured {
				t.Errorf("after Open(%s) Deliver gave %v", settings, err)
			}
		}
	}
	// Settings that are refused do not leave those of before in force.
	p := &platform{}
	if err := p.Open(`{"url":"https://a","ledger_key":"` + testKey + `"}`); err != nil {
		t.Fatal(err)
	}
	if err := p.Open(`{"url":"nonsense"}`); err == nil || p.signalsURL != "" || p.ledgerURL != "" || p.ledgerKey != "" {
		t.Errorf("after refused settings: %v, posts to %q and %q", err, p.signalsURL, p.ledgerURL)
	}
}

// TestSchema holds the schema, by which carl and people write settings,
// against what Open takes.
func TestSchema(t *testing.T) {
	text, err := os.ReadFile("settings.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]struct{ Pattern, Default string }
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{"url": "https://a", "signals_path": defaultSignalsPath, "ledger": defaultLedgerPath, "ledger_key": testKey}
	if got, want := slices.Sorted(maps.Keys(schema.Properties)), slices.Sorted(maps.Keys(settings)); !slices.Equal(got, want) {
		t.Errorf("the schema knows %q, want %q", got, want)
	}
	for name, value := range settings {
		p := schema.Properties[name]
		if !regexp.MustCompile(p.Pattern).MatchString(value) {
			t.Errorf("the schema does not take %q as %s", value, name)
		}
		if p.Default != "" && p.Default != value {
			t.Errorf("the schema says that %s is %q by default, want %q", name, p.Default, value)
		}
	}
	all, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := new(platform).Open(string(all)); err != nil {
		t.Errorf("Open(%s): %v", all, err)
	}
	for _, key := range []string{"", testKey[1:], testKey + "A", testKey[:42] + "p", "+" + testKey[1:]} {
		if regexp.MustCompile(schema.Properties["ledger_key"].Pattern).MatchString(key) {
			t.Errorf("the schema takes %q as ledger_key", key)
		}
	}
}

func TestUnknownTopic(t *testing.T) {
	p := connected(t, func(nethttp.ResponseWriter, *nethttp.Request) { t.Error("a request was sent") })
	got, err := p.Deliver(forwarder.Ledger+1, events("a"))
	if f := failureOf(t, err); got != nil || f.Kind != forwarder.Misconfigured {
		t.Errorf("an unknown topic gave %v, %v", got, f)
	}
}

// FuzzReadResults shows that no answer makes an outcome that it does not
// state: whatever is accepted or duplicate is named once, with that word.
func FuzzReadResults(f *testing.F) {
	for _, body := range []string{
		`{"results":[{"id":"a","status":"accepted"},{"id":"b","status":"duplicate"},{"id":"c","status":"rejected","reason":"x"}]}`,
		`{"results":[{"id":"a","status":"accepted"},{"id":"a","status":"rejected"}]}`, `{"results":[]}`, `[]`, ``, `{"results":[{"id":"z"}]}`,
	} {
		f.Add(body)
	}
	sent := events("a", "b", "c")
	f.Fuzz(func(t *testing.T, body string) {
		got, err := readResults(body, sent)
		if err != nil {
			if got != nil || failureOf(t, err).Kind != forwarder.Unavailable {
				t.Fatalf("%q: %v, %v", body, got, err)
			}
			return
		}
		if len(got) != len(sent) {
			t.Fatalf("%q: %d outcomes", body, len(got))
		}
		var answer struct {
			Results []struct{ ID, Status string }
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatalf("%q was believed: %v", body, err)
		}
		said := map[string]string{}
		for _, r := range answer.Results {
			said[r.ID] += r.Status
		}
		for i, o := range got {
			if o == forwarder.Accepted("") && said[sent[i].ID] != "accepted" || o == forwarder.Duplicate() && said[sent[i].ID] != "duplicate" {
				t.Fatalf("%q: event %s became %v", body, sent[i].ID, o)
			}
		}
	})
}
