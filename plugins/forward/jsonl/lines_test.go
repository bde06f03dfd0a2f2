package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carl.camp/carl/sdk/forwarder"
)

// below appends to real files below a folder.
func below(dir string) func(string, []byte) error {
	return func(path string, data []byte) error {
		f, err := os.OpenFile(filepath.Join(dir, path), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.Write(data)
		return err
	}
}

func opened(t *testing.T, settings string, appendTo func(string, []byte) error) *lines {
	t.Helper()
	l := &lines{append: appendTo}
	if err := l.Open(settings); err != nil {
		t.Fatal(err)
	}
	return l
}

func event(id, body string) forwarder.Event { return forwarder.Event{ID: id, Body: []byte(body)} }

func TestAppends(t *testing.T) {
	dir := t.TempDir()
	l := opened(t, `{"file":"out.jsonl"}`, below(dir))
	for _, batch := range [][]forwarder.Event{
		{event("a", `{"id":"a"}`), event("b", `{"id":"b","x":"\n"}`)},
		nil,
		{event("c", `{"id":"c"}`)},
	} {
		got, err := l.Deliver(forwarder.Signals, batch)
		if err != nil || len(got) != len(batch) {
			t.Fatalf("%d outcomes, %v", len(got), err)
		}
		for _, o := range got {
			if o != forwarder.Accepted("") {
				t.Errorf("outcome %v", o)
			}
		}
	}
	if _, err := l.Deliver(forwarder.Ledger, []forwarder.Event{event("0", `{"seq":0}`)}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"out.jsonl":    `{"id":"a"}` + "\n" + `{"id":"b","x":"\n"}` + "\n" + `{"id":"c"}` + "\n",
		"ledger.jsonl": `{"seq":0}` + "\n",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestOneAppendForABatch(t *testing.T) {
	calls := 0
	l := opened(t, `{}`, func(path string, data []byte) error {
		calls++
		if path != "signals.jsonl" || strings.Count(string(data), "\n") != 1000 {
			t.Errorf("appended %d bytes to %s", len(data), path)
		}
		return nil
	})
	var batch []forwarder.Event
	for range 1000 {
		batch = append(batch, event("x", `{}`))
	}
	if _, err := l.Deliver(forwarder.Signals, batch); err != nil || calls != 1 {
		t.Errorf("%d appends, %v", calls, err)
	}
}

func TestRefusesWhatIsNoLine(t *testing.T) {
	var written string
	l := opened(t, `{}`, func(_ string, data []byte) error {
		written += string(data)
		return nil
	})
	bad := []string{"", "[]", "1", `"x"`, `{`, `}`, "{\n}", "{\r}", "{}\n", " {}", strings.Repeat("[", 1000)}
	batch := []forwarder.Event{event("first", `{"n":1}`)}
	for _, body := range bad {
		batch = append(batch, event("bad", body))
	}
	batch = append(batch, event("last", `{"n":2}`))
	got, err := l.Deliver(forwarder.Signals, batch)
	if err != nil || len(got) != len(batch) {
		t.Fatalf("%d outcomes, %v", len(got), err)
	}
	for i, o := range got {
		if good := i == 0 || i == len(got)-1; good != (o == forwarder.Accepted("")) || !good && !strings.HasPrefix(o.String(), "rejected: the body ") {
			t.Errorf("body %q: %v", batch[i].Body, o)
		}
	}
	if written != "{\"n\":1}\n{\"n\":2}\n" {
		t.Errorf("wrote %q", written)
	}
	written = ""
	if got, err := l.Deliver(forwarder.Signals, batch[1:2]); err != nil || len(got) != 1 || written != "" {
		t.Errorf("a batch of nothing good: %v, %v, wrote %q", got, err, written)
	}
}

func TestAppendFails(t *testing.T) {
	l := opened(t, `{}`, func(string, []byte) error { return errors.New("no space left on device") })
	got, err := l.Deliver(forwarder.Signals, []forwarder.Event{event("a", `{}`), event("b", `nonsense`)})
	var f *forwarder.Failure
	if got != nil || !errors.As(err, &f) || f.Kind != forwarder.Unavailable ||
		f.Message != "nothing was appended to signals.jsonl: no space left on device" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestOpen(t *testing.T) {
	for settings, want := range map[string][2]string{
		`{}`:                             {"signals.jsonl", "ledger.jsonl"},
		`{"file":"a/b.jsonl"}`:           {"a/b.jsonl", "ledger.jsonl"},
		`{"file":"s","ledger_file":"l"}`: {"s", "l"},
		`{"file":"..."}`:                 {"...", "ledger.jsonl"},
		`{"file":"ledger.jsonl"}`:        {},
		`{"file":""}`:                    {},
		`{"file":null}`:                  {},
		`{"file":1}`:                     {},
		`{"file":"/etc/passwd"}`:         {},
		`{"file":"../x"}`:                {},
		`{"file":"a/../../x"}`:           {},
		`{"file":"a/./x"}`:               {},
		`{"file":"a//x"}`:                {},
		`{"file":"x/"}`:                  {},
		`{"file":"a\\x"}`:                {},
		`{"file":"c:x"}`:                 {},
		`{"file":"a\u0000"}`:             {},
		`{"file":"` + strings.Repeat("a", 256) + `"}`: {},
		`{"ledger_file":".."}`:                        {},
		`{"files":"x"}`:                               {},
		`{"file":"a","file":"b"}`:                     {},
		`[]`:                                          {},
		``:                                            {},
	} {
		l := &lines{}
		err := l.Open(settings)
		if got := [2]string{l.file, l.ledgerFile}; got != want {
			t.Errorf("Open(%s) opened %q, want %q (%v)", settings, got, want, err)
		}
		var f *forwarder.Failure
		if refused := want[0] == ""; refused != errors.As(err, &f) || refused && f.Kind != forwarder.Misconfigured {
			t.Errorf("Open(%s): %v", settings, err)
		}
	}
	l := &lines{}
	if _, err := l.Deliver(forwarder.Signals, []forwarder.Event{event("a", `{}`)}); err == nil {
		t.Error("delivered before Open")
	}
}
