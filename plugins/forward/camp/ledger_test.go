package main

import (
	"crypto/sha512"
	"encoding/hex"
	stdjson "encoding/json"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/sdk/forwarder"
	"carl.camp/carl/sdk/http"
	"carl.camp/carl/sdk/json"
)

const hash64 = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

// blocks are n lines of a ledger in form, which is all that a forwarder knows of them.
func blocks(n int) []forwarder.Event {
	var list []forwarder.Event
	for i := range n {
		sig := sha512.Sum512([]byte{byte(i), byte(i >> 8)})
		id := hex.EncodeToString(sig[:])
		list = append(list, forwarder.Event{ID: id, Type: "decision", Body: []byte(`{"name":"Zürich < & > \u0001","seq":` + strconv.Itoa(i) + `,"sig":"` + id + `"}`)})
	}
	return list
}

// said is what a scripted platform answers.
type said struct {
	status int
	body   string
	wait   string // Retry-After
	// short announces more bytes than come, so that the connection ends amid the body.
	short bool
}

// ack is the honest answer to a block.
func ack(b forwarder.Event, more string) said {
	return said{status: 200, body: `{"ack":"` + b.ID + `"` + more + `}`}
}

// received is one request as it arrived.
type received struct {
	method, path string
	header       nethttp.Header
	body         string
}

// scripted returns an open forwarder, and the requests that arrive at a server
// which gives each the next answer.
func scripted(t *testing.T, settings string, answers ...said) (*platform, *[]received) {
	t.Helper()
	var seen []received
	server := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		seen = append(seen, received{r.Method, r.URL.String(), r.Header.Clone(), string(body)})
		if len(seen) > len(answers) {
			t.Errorf("request %d came, and %d were due", len(seen), len(answers))
			w.WriteHeader(500)
			return
		}
		a := answers[len(seen)-1]
		if a.wait != "" {
			w.Header().Set("Retry-After", a.wait)
		}
		if a.short {
			w.Header().Set("Content-Length", strconv.Itoa(len(a.body)+1))
		}
		w.WriteHeader(a.status)
		io.WriteString(w, a.body)
	}))
	t.Cleanup(server.Close)
	p := &platform{send: overNet, now: func() time.Time { return testNow }}
	if err := p.Open(`{"url":"` + server.URL + `"` + settings + `}`); err != nil {
		t.Fatal(err)
	}
	return p, &seen
}

func TestLedgerRequests(t *testing.T) {
	sent := blocks(3)
	for _, c := range []struct {
		settings, path string
		key            []string
	}{
		{``, "/api/ledger/append", nil},
		{`,"ledger":"/v2/blocks","signals_path":"/s","ledger_key":"` + testKey + `"`, "/v2/blocks", []string{testKey}},
	} {
		p, seen := scripted(t, c.settings, ack(sent[0], ``), ack(sent[1], `,"receipt":"r\n\n— x y\n"`), ack(sent[2], `,"duplicate":true`))
		got, err := p.Deliver(forwarder.Ledger, sent)
		if err != nil {
			t.Fatal(err)
		}
		if want := []forwarder.Outcome{forwarder.Accepted(""), forwarder.Accepted("r\n\n— x y\n"), forwarder.Accepted("")}; !reflect.DeepEqual(got, want) {
			t.Errorf("outcomes %v, want %v", got, want)
		}
		if len(*seen) != len(sent) {
			t.Fatalf("%d requests for %d blocks", len(*seen), len(sent))
		}
		for i, r := range *seen {
			if r.method != "POST" || r.path != c.path || r.body != string(sent[i].Body) {
				t.Errorf("request %d: %s %s with %q, want %q", i, r.method, r.path, r.body, sent[i].Body)
			}
			for name, want := range map[string][]string{
				"Content-Type":      {"application/json"},
				"Accept":            {"application/json"},
				"Idempotency-Key":   {sent[i].ID},
				"X-Carl-Ledger-Key": c.key,
				"Authorization":     nil, // the host adds it
			} {
				if got := r.header.Values(name); !slices.Equal(got, want) {
					t.Errorf("request %d: %s is %q, want %q", i, name, got, want)
				}
			}
		}
	}
	p, _ := scripted(t, ``)
	if got, err := p.Deliver(forwarder.Ledger, nil); err != nil || len(got) != 0 {
		t.Errorf("no blocks: %v, %v", got, err)
	}
}

// TestLedgerAnswers gives every kind of answer to one block. Only its own
// signature, in an answer of the right form, counts as stored.
func TestLedgerAnswers(t *testing.T) {
	b := blocks(2)
	sig := b[0].ID
	const disbelief = "the platform's answer cannot be believed: "
	stored := func(more string) string { return `{"ack":"` + sig + `"` + more + `}` }
	notJSON := func(body string) forwarder.Outcome {
		_, err := json.Parse(body)
		if err == nil {
			t.Errorf("%q is JSON", body)
			return forwarder.Outcome{}
		}
		return forwarder.Retry(disbelief + err.Error())
	}
	long := strings.Repeat("r", maxReceipt)
	for _, c := range []struct {
		status int
		body   string
		want   forwarder.Outcome
	}{
		{200, stored(``), forwarder.Accepted("")},
		{200, " \n" + stored(`,"more":[{"ack":1}]`) + "\n", forwarder.Accepted("")},
		{200, stored(`,"receipt":"note\n\n\u2014 key c2ln\n"`), forwarder.Accepted("note\n\n— key c2ln\n")},
		{200, stored(`,"duplicate":true,"receipt":"note"`), forwarder.Accepted("note")},
		{200, stored(`,"duplicate":"perhaps"`), forwarder.Accepted("")},
		{200, `{"receipt":"first","ack":"` + sig + `"}`, forwarder.Accepted("first")},
		// A receipt that is none costs nothing but the receipt.
		{200, stored(`,"receipt":"` + long + `"`), forwarder.Accepted(long)},
		{200, stored(`,"receipt":"` + strings.Repeat(`\u0072`, maxReceipt) + `"`), forwarder.Accepted(long)},
		{200, stored(`,"receipt":"` + long + `r"`), forwarder.Accepted("")},
		{200, stored(`,"receipt":"` + strings.Repeat("é", maxReceipt/2) + `"`), forwarder.Accepted(strings.Repeat("é", maxReceipt/2))},
		{200, stored(`,"receipt":"` + strings.Repeat("é", maxReceipt/2) + `r"`), forwarder.Accepted("")},
		{200, stored(`,"receipt":"` + strings.Repeat(long, 14) + `"`), forwarder.Accepted("")},
		{200, stored(",\"receipt\":\"a\xffb\""), forwarder.Accepted("")},
		{200, stored(",\"receipt\":\"\xed\xa0\x80\""), forwarder.Accepted("")},
		{200, stored(`,"receipt":""`), forwarder.Accepted("")},
		{200, stored(`,"receipt":null`), forwarder.Accepted("")},
		{200, stored(`,"receipt":5`), forwarder.Accepted("")},
		{200, stored(`,"receipt":{"note":"x"}`), forwarder.Accepted("")},

		{200, `{"ack":"` + b[1].ID + `","receipt":"r"}`, forwarder.Retry(disbelief + `"ack" is not the signature of the block that was sent`)},
		{200, `{"ack":"` + strings.ToUpper(sig) + `"}`, forwarder.Retry(disbelief + `"ack" is not the signature of the block that was sent`)},
		{200, `{"ack":"` + sig + ` "}`, forwarder.Retry(disbelief + `"ack" is not the signature of the block that was sent`)},
		{200, "{\"ack\":\"" + sig + "\xff\"}", forwarder.Retry(disbelief + `"ack" is not the signature of the block that was sent`)},
		{200, `{"ack":""}`, forwarder.Retry(disbelief + `"ack" is not the signature of the block that was sent`)},
		{200, `{"ack":true}`, forwarder.Retry(disbelief + `"ack" is a boolean`)},
		{200, `{"ack":null}`, forwarder.Retry(disbelief + `"ack" is null`)},
		{200, `{"ack":["` + sig + `"]}`, forwarder.Retry(disbelief + `"ack" is an array`)},
		{200, `{"receipt":"r"}`, forwarder.Retry(disbelief + `"ack" is nothing`)},
		{200, `{"Ack":"` + sig + `"}`, forwarder.Retry(disbelief + `"ack" is nothing`)},
		{200, `{}`, forwarder.Retry(disbelief + `"ack" is nothing`)},
		{200, `{"x":` + stored(``) + `}`, forwarder.Retry(disbelief + `"ack" is nothing`)},
		{200, stored(`,"ack":"` + sig + `"`), forwarder.Retry(disbelief + `member "ack" occurs twice`)},
		{200, stored(`,"receipt":"a","receipt":"b"`), forwarder.Retry(disbelief + `member "receipt" occurs twice`)},
		{200, `[` + stored(``) + `]`, forwarder.Retry(disbelief + "an object is wanted, and this is an array")},
		{200, `"` + sig + `"`, forwarder.Retry(disbelief + "an object is wanted, and this is a string")},
		{200, `null`, forwarder.Retry(disbelief + "an object is wanted, and this is null")},
		{200, ``, notJSON(``)},
		{200, sig, notJSON(sig)},
		{200, stored(``)[:137], notJSON(stored(``)[:137])},
		{200, stored(``) + stored(``), notJSON(stored(``) + stored(``))},
		{200, stored(``) + "\xff", notJSON(stored(``) + "\xff")},
		{200, `<html>captive portal</html>`, notJSON(`<html>captive portal</html>`)},
		{200, stored(strings.Repeat(" ", maxAnswer)), forwarder.Retry(disbelief + "it is longer than 65536 bytes")},
		{200, stored(``) + strings.Repeat(" ", maxAnswer-138), forwarder.Accepted("")},
		{200, stored(``) + strings.Repeat(" ", maxAnswer-137), forwarder.Retry(disbelief + "it is longer than 65536 bytes")},
		{200, `{"ack":` + strings.Repeat("[", 60_000), notJSON(`{"ack":` + strings.Repeat("[", 60_000))},

		{409, `{"seq":42,"have":"` + hash64 + `"}`, forwarder.Conflict(hash64)},
		{409, `{"have":"` + hash64 + `"}`, forwarder.Conflict(hash64)},
		{409, `{"seq":42,"have":"` + strings.ToUpper(hash64) + `"}`, forwarder.Conflict("")},
		{409, `{"seq":42,"have":"` + hash64[1:] + `"}`, forwarder.Conflict("")},
		{409, `{"seq":42,"have":"` + hash64 + `0"}`, forwarder.Conflict("")},
		{409, `{"seq":42,"have":"` + hash64[:63] + `g"}`, forwarder.Conflict("")},
		{409, `{"seq":42,"have":"` + hash64[:63] + `\n"}`, forwarder.Conflict("")},
		{409, `{"seq":42,"have":""}`, forwarder.Conflict("")},
		{409, `{"seq":42,"have":64}`, forwarder.Conflict("")},
		{409, `{"have":"` + hash64 + `","have":"` + hash64 + `"}`, forwarder.Conflict("")},
		{409, `{"have":"` + hash64, forwarder.Conflict("")},
		{409, stored(``), forwarder.Conflict("")},
		{409, ``, forwarder.Conflict("")},
		{409, strings.Repeat("[", 100_000), forwarder.Conflict("")},

		{422, `{"error":{"code":"invalid_signature","message":"the block is not signed\nby its key","fields":[{"path":"/sig","message":"no\u0007"},{"path":"/v"}]}}`,
			forwarder.Rejected(`the platform answered 422: the block is not signed by its key; at "/sig": no  (invalid_signature)`)},
		{422, `{"error":{"message":"` + strings.Repeat("m", 5000) + `"}}`, forwarder.Rejected("the platform answered 422: " + strings.Repeat("m", maxShown) + "…")},
		{422, `{"error":{"code":"gap","message":"x"}}`, forwarder.Rejected("the platform answered 422: x (gap)")},
		{422, `{"error":{"code":"gap","message":"x","fields":[{"path":"/seq","message":"expected 4"}]}}`, forwarder.Rejected(`gap: expected 4; the platform answered 422: x; at "/seq": expected 4 (gap)`)},
		{422, `{"error":{"code":"gap","fields":[{"path":"/v","message":"expected 1"},{"path":"/seq","message":"expected 007"}]}}`, forwarder.Rejected(`gap: expected 7; the platform answered 422; at "/v": expected 1 (gap)`)},
		{422, `{"error":{"code":"gap","fields":[{"path":"/v","message":"expected 4"}]}}`, forwarder.Rejected(`the platform answered 422; at "/v": expected 4 (gap)`)},
		{422, `{"error":{"code":"gap","fields":[{"path":"/seq","message":"expected 4 or 5"}]}}`, forwarder.Rejected(`the platform answered 422; at "/seq": expected 4 or 5 (gap)`)},
		{422, `{"error":{"code":"gap","fields":[{"path":"/seq","message":"expected 99999999999999999999"}]}}`, forwarder.Rejected(`the platform answered 422; at "/seq": expected 99999999999999999999 (gap)`)},
		{422, `{"error":{"code":"gap","fields":[{"path":"/seq","message":"expected -1"}]}}`, forwarder.Rejected(`the platform answered 422; at "/seq": expected -1 (gap)`)},
		{422, `{"error":{"code":"gap","fields":[5]}}`, forwarder.Rejected(`the platform answered 422 (gap)`)},
		{422, `{"error":{"code":"invalid_chain","message":"x","fields":[{"path":"/seq","message":"expected 4"}]}}`, forwarder.Rejected(`the platform answered 422: x; at "/seq": expected 4 (invalid_chain)`)},
		{400, `{"error":{"code":"gap","message":"x","fields":[{"path":"/seq","message":"expected 4"}]}}`, forwarder.Rejected(`the platform answered 400: x; at "/seq": expected 4 (gap)`)},
		{422, stored(``), forwarder.Rejected("the platform answered 422")},
		{422, `<html>`, forwarder.Rejected("the platform answered 422")},
		{400, `{"error":{"code":"bad_request","message":"no"}}`, forwarder.Rejected("the platform answered 400: no (bad_request)")},
		{400, ``, forwarder.Rejected("the platform answered 400")},
		{413, `{"error":{"code":"too_large","message":"larger than 65536 bytes"}}`, forwarder.Rejected("the platform answered 413: larger than 65536 bytes (too_large)")},
	} {
		// Alone, and with another behind it, which is then sent only after an ack.
		for n := 1; n <= 2; n++ {
			answers := []said{{status: c.status, body: c.body}}
			want := []forwarder.Outcome{c.want, forwarder.Retry(notReached)}[:n]
			if n == 2 && strings.HasPrefix(c.want.String(), "accepted") {
				answers, want[1] = append(answers, ack(b[1], ``)), forwarder.Accepted("")
			}
			p, seen := scripted(t, ``, answers...)
			got, err := p.Deliver(forwarder.Ledger, b[:n])
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%d %.300q gave\n%.400q, %v; want\n%.400q", c.status, c.body, got, err, want)
			}
			if len(*seen) != len(answers) {
				t.Errorf("%d %.300q: %d requests, want %d", c.status, c.body, len(*seen), len(answers))
			}
		}
	}
}

// TestLedgerFailures meets, at the first block and at a later one, what says
// nothing about a block.
func TestLedgerFailures(t *testing.T) {
	sent := blocks(4)
	want := map[int]forwarder.Kind{
		201: forwarder.Unavailable, 202: forwarder.Unavailable, 204: forwarder.Unavailable,
		301: forwarder.Misconfigured, 304: forwarder.Misconfigured, 307: forwarder.Misconfigured,
		401: forwarder.Unauthorized, 402: forwarder.Unauthorized, 403: forwarder.Unauthorized,
		404: forwarder.Misconfigured, 405: forwarder.Misconfigured, 410: forwarder.Misconfigured,
		415: forwarder.Misconfigured,
		408: forwarder.Unavailable, 425: forwarder.Unavailable, 429: forwarder.Unavailable,
		500: forwarder.Unavailable, 501: forwarder.Unavailable, 502: forwarder.Unavailable,
		503: forwarder.Unavailable, 504: forwarder.Unavailable, 599: forwarder.Unavailable,
	}
	for status, kind := range want {
		failing := said{status: status, wait: "7"}
		if status != 204 && status != 304 {
			// An answer that looks like success changes nothing.
			failing.body = `{"ack":"` + sent[0].ID + `","error":{"code":"x.y","message":"not now"}}`
		}
		p, seen := scripted(t, ``, failing)
		got, err := p.Deliver(forwarder.Ledger, sent)
		if got != nil || len(*seen) != 1 {
			t.Errorf("%d gave outcomes %v after %d requests", status, got, len(*seen))
		}
		f := failureOf(t, err)
		words := fmt.Sprintf("the platform answered %d", status)
		if status == 402 || status == 403 {
			words = "not allowed: " + words
		}
		if f.Kind != kind || !strings.HasPrefix(f.Message, words) {
			t.Errorf("%d failed with %v, want kind %v", status, f, kind)
		}
		if said := strings.Contains(f.Message, ": not now (x.y)"); said != (failing.body != "") {
			t.Errorf("%d failed with %v", status, f)
		}
		wait := uint64(0)
		if status == 408 || status == 425 || status == 429 || status >= 500 {
			wait = 7000
		}
		if f.RetryAfterMS != wait {
			t.Errorf("%d asks for a wait of %d ms, want %d", status, f.RetryAfterMS, wait)
		}

		failing.body = strings.ReplaceAll(failing.body, sent[0].ID, sent[2].ID)
		p, seen = scripted(t, ``, ack(sent[0], `,"receipt":"one"`), ack(sent[1], ``), failing, failing)
		got, err = p.Deliver(forwarder.Ledger, sent)
		outcomes := []forwarder.Outcome{forwarder.Accepted("one"), forwarder.Accepted(""), forwarder.Retry(f.Message), forwarder.Retry(notReached)}
		if err != nil || !reflect.DeepEqual(got, outcomes) || len(*seen) != 3 {
			t.Errorf("%d at the third block gave %v, %v after %d requests", status, got, err, len(*seen))
		}
		// The next batch begins with that block, and nobody is asked for it. The one
		// after that is another attempt.
		for _, requests := range []int{3, 4} {
			got, err = p.Deliver(forwarder.Ledger, sent[2:])
			if again := failureOf(t, err); got != nil || *again != *f || len(*seen) != requests {
				t.Errorf("%d met again gave %v, %v after %d requests, want %d", status, got, again, len(*seen), requests)
			}
		}
	}
}

func TestLedgerRetryAfter(t *testing.T) {
	for field, want := range map[string]uint64{
		"": 0, "0": 0, "120": 120_000, "Mon, 23 Nov 2026 04:00:30 GMT": 30_000, "Mon, 23 Nov 2026 03:00:00 GMT": 0, "soon": 0,
	} {
		p, _ := scripted(t, ``, said{status: 503, wait: field})
		_, err := p.Deliver(forwarder.Ledger, blocks(1))
		if f := failureOf(t, err); f.Kind != forwarder.Unavailable || f.RetryAfterMS != want {
			t.Errorf("Retry-After %q: %v, a wait of %d ms, want %d", field, f, f.RetryAfterMS, want)
		}
	}
}

// TestLedgerRemembersFailure has a failure be met in the midst of a batch, and the
// next batch come after a while.
func TestLedgerRemembersFailure(t *testing.T) {
	sent := blocks(3)
	for _, c := range []struct {
		after time.Duration
		wait  string
		next  int    // the block that the next batch begins with
		left  uint64 // of the wait, where it is not asked again
	}{
		{0, "9", 1, 9000},
		{1500 * time.Millisecond, "9", 1, 7500},
		{memory, "9", 1, 4000},
		{memory + 1, "9", 1, 0}, // carl comes back later, as it was asked to
		{time.Second, "1", 1, 0},
		{-time.Second, "9", 1, 0}, // the clock was set back
		{0, "9", 2, 0},            // another block
	} {
		clock, requests := testNow, 0
		p := &platform{now: func() time.Time { return clock }, send: func(http.Request) (*http.Response, error) {
			if requests++; requests != 2 {
				return &http.Response{Status: 200, Body: []byte(ack(sent[map[int]int{1: 0, 3: c.next}[requests]], ``).body)}, nil
			}
			return &http.Response{Status: 429, Headers: []http.Header{{Name: "retry-after", Value: c.wait}}}, nil
		}}
		if err := p.Open(`{"url":"https://carl.camp"}`); err != nil {
			t.Fatal(err)
		}
		if got, err := p.Deliver(forwarder.Ledger, sent[:2]); err != nil || got[1].String() != "retry: the platform answered 429" {
			t.Fatalf("%v, %v", got, err)
		}
		clock = clock.Add(c.after)
		got, err := p.Deliver(forwarder.Ledger, sent[c.next:c.next+1])
		if c.left == 0 {
			if err != nil || len(got) != 1 || got[0] != forwarder.Accepted("") || requests != 3 {
				t.Errorf("%+v: %v, %v after %d requests", c, got, err, requests)
			}
			continue
		}
		if f := failureOf(t, err); f.Kind != forwarder.Unavailable || f.RetryAfterMS != c.left || requests != 2 {
			t.Errorf("%+v: %v, a wait of %d ms, after %d requests", c, f, f.RetryAfterMS, requests)
		}
	}
}

// TestLedgerLaterTimeout gives a block that others were stored before less time:
// its batch must end before carl ends it.
func TestLedgerLaterTimeout(t *testing.T) {
	sent := blocks(3)
	var timeouts []uint32
	p := &platform{now: func() time.Time { return testNow }, send: func(r http.Request) (*http.Response, error) {
		if timeouts = append(timeouts, r.TimeoutMS); len(timeouts) == 2 {
			return nil, &http.Error{Kind: http.Timeout}
		}
		return &http.Response{Status: 200, Body: []byte(ack(sent[len(timeouts)/2], ``).body)}, nil
	}}
	if err := p.Open(`{"url":"https://carl.camp"}`); err != nil {
		t.Fatal(err)
	}
	got, err := p.Deliver(forwarder.Ledger, sent)
	want := []forwarder.Outcome{forwarder.Accepted(""), forwarder.Retry("no answer from the platform: no answer in time"), forwarder.Retry(notReached)}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	// It had too little time to be called a failure of the next one.
	if got, err := p.Deliver(forwarder.Ledger, sent[1:2]); err != nil || got[0] != forwarder.Accepted("") {
		t.Errorf("%v, %v", got, err)
	}
	if want := []uint32{0, uint32(laterTimeout / time.Millisecond), 0}; !slices.Equal(timeouts, want) {
		t.Errorf("the requests had %v ms, want %v", timeouts, want)
	}
}

// TestLedgerStops puts each kind of answer that is no ack at each place of a batch.
func TestLedgerStops(t *testing.T) {
	const n = 5
	sent := blocks(n)
	for _, c := range []struct {
		answer said
		want   forwarder.Outcome
	}{
		{said{status: 200, body: `{"ack":"` + blocks(n + 1)[n].ID + `"}`}, forwarder.Retry(`the platform's answer cannot be believed: "ack" is not the signature of the block that was sent`)},
		{said{status: 409, body: `{"seq":1,"have":"` + hash64 + `"}`}, forwarder.Conflict(hash64)},
		{said{status: 422, body: `{"error":{"message":"no"}}`}, forwarder.Rejected("the platform answered 422: no")},
		{said{status: 400}, forwarder.Rejected("the platform answered 400")},
		{said{status: 413}, forwarder.Rejected("the platform answered 413")},
	} {
		for at := range n {
			var answers []said
			var want []forwarder.Outcome
			for i := range sent {
				switch {
				case i < at:
					receipt := "receipt " + strconv.Itoa(i)
					answers, want = append(answers, ack(sent[i], `,"receipt":"`+receipt+`"`)), append(want, forwarder.Accepted(receipt))
				case i == at:
					answers, want = append(answers, c.answer), append(want, c.want)
				default:
					want = append(want, forwarder.Retry(notReached))
				}
			}
			p, seen := scripted(t, ``, answers...)
			got, err := p.Deliver(forwarder.Ledger, sent)
			if err != nil || !reflect.DeepEqual(got, want) || len(*seen) != at+1 {
				t.Errorf("%d at block %d gave %v, %v after %d requests; want %v", c.answer.status, at, got, err, len(*seen), want)
			}
		}
	}
}

// TestLedgerUnsent meets, at the first block and at a later one, that there was no answer.
func TestLedgerUnsent(t *testing.T) {
	sent := blocks(3)
	for _, c := range []struct {
		err  error
		kind forwarder.Kind
	}{
		{&http.Error{Kind: http.Denied, Text: "https://carl.camp was not granted"}, forwarder.Misconfigured},
		{&http.Error{Kind: http.Denied, Text: `secret "camp-token" is not available`}, forwarder.Unauthorized},
		{&http.Error{Kind: http.Timeout}, forwarder.Unavailable},
		{&http.Error{Kind: http.TooLarge}, forwarder.Unavailable},
		{&http.Error{Kind: http.Network, Text: "connection refused"}, forwarder.Unavailable},
		{io.ErrUnexpectedEOF, forwarder.Unavailable},
	} {
		for at := range sent {
			requests := 0
			p := &platform{now: time.Now, send: func(r http.Request) (*http.Response, error) {
				requests++
				if requests > at {
					return nil, c.err
				}
				return &http.Response{Status: 200, Body: []byte(ack(sent[requests-1], ``).body)}, nil
			}}
			if err := p.Open(`{"url":"https://carl.camp"}`); err != nil {
				t.Fatal(err)
			}
			got, err := p.Deliver(forwarder.Ledger, sent)
			if requests != at+1 {
				t.Errorf("%v at block %d: %d requests", c.err, at, requests)
			}
			if at == 0 {
				if f := failureOf(t, err); got != nil || f.Kind != c.kind || f.Message == "" {
					t.Errorf("%v became %v, %v", c.err, got, f)
				}
				continue
			}
			want := []forwarder.Outcome{forwarder.Accepted(""), forwarder.Accepted(""), forwarder.Retry(notReached)}
			want[at] = forwarder.Retry(unsent(c.err).Message)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%v at block %d gave %v, %v; want %v", c.err, at, got, err, want)
			}
		}
	}
}

// TestLedgerCutAnswers has connections end before, in and instead of an answer.
func TestLedgerCutAnswers(t *testing.T) {
	sent := blocks(2)
	p, _ := scripted(t, ``, said{status: 200, body: ack(sent[0], ``).body, short: true})
	got, err := p.Deliver(forwarder.Ledger, sent)
	if f := failureOf(t, err); got != nil || f.Kind != forwarder.Unavailable {
		t.Errorf("an answer without its end gave %v, %v", got, f)
	}
	p, seen := scripted(t, ``, ack(sent[0], ``), said{status: 200, body: `{"ack":"`, short: true})
	got, err = p.Deliver(forwarder.Ledger, sent)
	if err != nil || len(got) != 2 || got[0] != forwarder.Accepted("") || !strings.HasPrefix(got[1].String(), "retry: no answer from the platform: ") || len(*seen) != 2 {
		t.Errorf("an answer without its end to the second block gave %v, %v", got, err)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := p.Open(`{"url":"http://` + listener.Addr().String() + `"}`); err != nil {
		t.Fatal(err)
	}
	got, err = p.Deliver(forwarder.Ledger, sent)
	if f := failureOf(t, err); got != nil || f.Kind != forwarder.Unavailable {
		t.Errorf("nobody there gave %v, %v", got, f)
	}
}

// TestLedgerPatience has each request take longer than a call may: what was
// stored is reported, and the rest is for the next batch.
func TestLedgerPatience(t *testing.T) {
	for _, c := range []struct {
		each time.Duration
		sent int
	}{
		{time.Hour, 1}, {patience, 1}, {patience - 1, 2}, {patience / 4, 4}, {time.Millisecond, 6},
	} {
		clock, sent, requests := testNow, blocks(6), 0
		p := &platform{now: func() time.Time { return clock }, send: func(http.Request) (*http.Response, error) {
			clock = clock.Add(c.each)
			requests++
			return &http.Response{Status: 200, Body: []byte(ack(sent[requests-1], ``).body)}, nil
		}}
		if err := p.Open(`{"url":"https://carl.camp"}`); err != nil {
			t.Fatal(err)
		}
		var want []forwarder.Outcome
		for i := range sent {
			switch {
			case i < c.sent:
				want = append(want, forwarder.Accepted(""))
			case i == c.sent:
				want = append(want, forwarder.Retry(putOff))
			default:
				want = append(want, forwarder.Retry(notReached))
			}
		}
		got, err := p.Deliver(forwarder.Ledger, sent)
		if err != nil || !reflect.DeepEqual(got, want) || requests != c.sent {
			t.Errorf("at %s a block: %d requests, %v, %v; want %v", c.each, requests, got, err, want)
		}
	}
}

// FuzzAcknowledged shows that an answer counts only when it holds the block's
// signature as the one member ack, and that a receipt is passed on as it is.
func FuzzAcknowledged(f *testing.F) {
	sig := blocks(1)[0].ID
	for _, body := range []string{
		`{"ack":"` + sig + `"}`, `{"ack":"` + sig + `","receipt":"a\n\u2014 b","duplicate":true}`, "{\"ack\":\"" + sig + "\",\"receipt\":\"\xff\"}",
		`{"ack":"` + sig + `","ack":"` + sig + `"}`, `{"ack":""}`, `[]`, ``, `{"receipt":"` + sig + `"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		receipt, disbelief := acknowledged(body, sig)
		if disbelief != nil {
			if receipt != "" || disbelief.Kind != forwarder.Unavailable {
				t.Fatalf("%q: %q, %v", body, receipt, disbelief)
			}
			return
		}
		// The standard library takes the members' names in any case.
		var answer map[string]any
		if err := stdjson.Unmarshal(body, &answer); err != nil || answer["ack"] != sig {
			t.Fatalf("%q was believed: %v", body, err)
		}
		if len(receipt) > maxReceipt || receipt != "" && answer["receipt"] != receipt {
			t.Fatalf("%q gave the receipt %q", body, receipt)
		}
	})
}
