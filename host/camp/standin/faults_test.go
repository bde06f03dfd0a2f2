package standin

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
)

func mustFaults(t testing.TB, s string) Faults {
	t.Helper()
	f, err := ParseFaults(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParseFaults(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "",
		"  ":                                   "",
		"429:0.1,500:0.05,reset:0.05,slow:0.1": "429:0.1,500:0.05,reset:0.05,slow:0.1",
		" lost:1 ":                             "lost:1",
		"lie:0.5, 413:0":                       "lie:0.5,413:0",
		"401:0.1,422:0.1,503:1e-3":             "401:0.1,422:0.1,503:0.001",
	} {
		f, err := ParseFaults(in)
		if err != nil || f.String() != want {
			t.Errorf("%q: %q, %v", in, f, err)
		}
	}
	for _, in := range []string{
		"429", "429:", "429:x", ":0.1", "429:-0.1", "429:1.1", "429:NaN", "429:Inf", "200:0.1", "399:0.1", "600:0.1", "0429:0.1", "+429:.1",
		"explode:0.1", "Reset:0.1", "429:0.1,,500:0.1", "429:0.1,429:0.1", "429:0.6,500:0.6", ",",
	} {
		if f, err := ParseFaults(in); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v, %v", in, f, err)
		}
	}
}

func TestStatusFaults(t *testing.T) {
	for _, status := range []int{401, 403, 404, 408, 413, 422, 429, 500, 503, 599} {
		p := start(t, Options{Faults: mustFaults(t, fmt.Sprintf("%d:1", status)), RetryAfter: 7 * time.Second})
		resp, text := p.do(t, "POST", signalsPath, batchType, batch(signal(idOf("a"), `{}`)))
		if resp.StatusCode != status {
			t.Errorf("%d: answered %d", status, resp.StatusCode)
		}
		refusal(t, text)
		wantRetry := ""
		if status == 429 || status == 503 {
			wantRetry = "7"
		}
		if got := resp.Header.Get("Retry-After"); got != wantRetry {
			t.Errorf("%d: Retry-After %q", status, got)
		}
		if len(p.IDs()) != 0 {
			t.Errorf("%d: something was stored", status)
		}
		// Looking is never disturbed.
		if resp, _ := p.do(t, "GET", "/dev/summary", "", ""); resp.StatusCode != 200 {
			t.Errorf("%d: the summary answered %d", status, resp.StatusCode)
		}
		if s := p.Summary(); s.Faults[fmt.Sprint(status)] != 1 {
			t.Errorf("%d: summary %+v", status, s)
		}
		p.SetFaults(Faults{})
		if got := p.post(t, batch(signal(idOf("a"), `{}`))); statuses(got) != "accepted" {
			t.Errorf("%d: afterwards %+v", status, got)
		}
		p.Close()
	}
	quiet := start(t, Options{Faults: mustFaults(t, "429:1"), RetryAfter: -1})
	if resp, _ := quiet.do(t, "POST", signalsPath, batchType, "[]"); resp.Header.Get("Retry-After") != "" {
		t.Error("asked for a pause that was switched off")
	}
	p := start(t, Options{Faults: mustFaults(t, "500:1")})
	if resp, _ := p.do(t, "POST", signalsPath, batchType, "[]", func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }); resp.StatusCode != 401 {
		t.Errorf("without the token: %d", resp.StatusCode)
	}
}

func TestResetAndLost(t *testing.T) {
	for name, stored := range map[string]int{"reset": 0, "lost": 1} {
		logged := make(chan Request, 1)
		p := start(t, Options{Faults: mustFaults(t, name+":1"), Log: func(r Request) { logged <- r }})
		if resp, _, err := p.try("POST", signalsPath, batchType, batch(signal(idOf("a"), `{}`))); err == nil {
			t.Errorf("%s: answered %d", name, resp.StatusCode)
		}
		if r := <-logged; r.Fault != name || r.Status != 0 {
			t.Errorf("%s: logged %+v", name, r)
		}
		if n := len(p.IDs()); n != stored {
			t.Errorf("%s: %d signals are held, want %d", name, n, stored)
		}
	}
}

func TestSlowStillAnswers(t *testing.T) {
	p := start(t, Options{Faults: mustFaults(t, "slow:1"), Slow: time.Millisecond})
	if got := p.post(t, batch(signal(idOf("a"), `{}`))); statuses(got) != "accepted" {
		t.Errorf("got %+v", got)
	}
	if p.Summary().Faults["slow"] != 1 {
		t.Error("slow was not played")
	}
}

// TestLies plays every lie and holds each to what is promised: the events are
// stored, the answer shows that it cannot be believed, and what it says of an
// event is true.
func TestLies(t *testing.T) {
	a, b := signal(idOf("a"), `{}`), signal(idOf("b"), `{}`)
	kinds := map[string]bool{}
	for seed := uint64(1); seed < 80; seed++ {
		p := start(t, Options{Faults: mustFaults(t, "lie:1"), Seed: seed})
		resp, text := p.do(t, "POST", signalsPath, batchType, batch(a, b))
		if len(p.IDs()) != 2 {
			t.Fatalf("%d signals are held", len(p.IDs()))
		}
		var doc results
		err := json.Unmarshal([]byte(text), &doc)
		seen := map[string]int{}
		for _, r := range doc.Results {
			seen[r.ID]++
			if r.Status == "rejected" || r.Status == "duplicate" {
				t.Errorf("a lie about %s: %+v", r.ID, r)
			}
		}
		switch {
		case resp.StatusCode == 204 && text == "":
			kinds["empty"] = true
		case resp.StatusCode != 200:
			t.Errorf("answered %d", resp.StatusCode)
		case strings.HasPrefix(text, "<"):
			kinds["not JSON"] = true
		case err != nil:
			kinds["cut off"] = true
		case len(text) > endless:
			kinds["endless"] = true
		case seen[idOf("b")] == 0:
			kinds["missing"] = true
		case seen[idOf("b")] == 2:
			kinds["doubled"] = true
		case len(seen) == 3:
			kinds["foreign"] = true
		case strings.Contains(text, "perhaps"):
			kinds["unknown status"] = true
		default:
			t.Errorf("an answer that looks honest: %s", text)
		}
		p.Close()
	}
	want := []string{"cut off", "doubled", "empty", "endless", "foreign", "missing", "not JSON", "unknown status"}
	if got := slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) {
		t.Errorf("lies that were told: %v, want %v", got, want)
	}
}

func TestSeedRepeatsTheSequence(t *testing.T) {
	sequence := func(seed uint64) string {
		d := newDraws(mustFaults(t, "429:0.2,500:0.1,reset:0.1,slow:0.1"), seed)
		var out []string
		for range 100 {
			out = append(out, d.next().name)
		}
		return strings.Join(out, " ")
	}
	first, again := sequence(7), sequence(7)
	if first != again {
		t.Error("one seed gives two sequences")
	}
	random, other := sequence(0), sequence(0)
	if first == sequence(8) || random == other {
		t.Error("other seeds give the same sequence")
	}
}

func TestDrawsKeepTheirProbabilities(t *testing.T) {
	d := newDraws(mustFaults(t, "429:0.1,500:0.05,reset:0.05,slow:0.1"), 1)
	seen := map[string]int{}
	const n = 100_000
	for range n {
		seen[d.next().name]++
	}
	for name, want := range map[string]float64{"429": .1, "500": .05, "reset": .05, "slow": .1, "": .7} {
		if got := float64(seen[name]) / n; got < want-.01 || got > want+.01 {
			t.Errorf("%q: %.3f of all calls, want %.3f", name, got, want)
		}
	}
}

// A client that never ends its request does not hold a connection for ever.
func TestUnfinishedRequestIsCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the server is patient")
	}
	t.Parallel()
	p := start(t, Options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST "+signalsPath+" HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	// Far beyond the server's patience: reaching it means that nothing was cut.
	conn.SetReadDeadline(time.Now().Add(10 * readHeaderTimeout))
	_, err = io.Copy(io.Discard, conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection stayed open")
	}
}

func FuzzParseFaults(f *testing.F) {
	for _, s := range []string{"429:0.1,500:0.05,reset:0.05,slow:0.1", "lie:1", "lost:0,", "429:1e-9", ":::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		faults, err := ParseFaults(s)
		if err != nil {
			return
		}
		again, err := ParseFaults(faults.String())
		if err != nil || again.String() != faults.String() {
			t.Fatalf("%q gives %q, which gives %q, %v", s, faults, again, err)
		}
		newDraws(faults, 1).next()
	})
}
