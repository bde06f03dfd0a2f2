package step

import (
	"bytes"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/step/steptest"
)

// refused is the reference: the table of formats.md read with the library's
// own unmarshalling, its depth found by its own stack, times by package time.
// It reports whether line is not a step.
func refused(line []byte) bool {
	dec := jsontext.NewDecoder(bytes.NewReader(line))
	for {
		_, err := dec.ReadToken()
		if dec.StackDepth() > MaxDepth {
			return true
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return true
		}
	}
	var m map[string]jsontext.Value
	if json.Unmarshal(line, &m) != nil || m == nil {
		return true
	}
	str := func(name string) (string, bool) {
		v, ok := m[name]
		if !ok {
			return "", true
		}
		var s string
		return s, v.Kind() == '"' && json.Unmarshal(v, &s) == nil
	}
	get := func(name string) string {
		var s string
		if v, ok := m[name]; ok {
			_ = json.Unmarshal(v, &s)
		}
		return s
	}
	for _, name := range []string{"step_id", "action", "name", "ts", "session_id", "trace_id", "parent_id"} {
		if _, ok := str(name); !ok {
			return true
		}
	}
	if _, ok := m["step_id"]; ok && !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(get("step_id")) {
		return true
	}
	if !regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`).MatchString(get("action")) {
		return true
	}
	if n := len(get("name")); n == 0 || n > MaxName {
		return true
	}
	if _, ok := m["ts"]; ok && badTime(get("ts")) {
		return true
	}
	if v, ok := m["success"]; ok && v.Kind() != 't' && v.Kind() != 'f' {
		return true
	}
	for name, low := range map[string]float64{"duration_ms": 0, "phi": math.Inf(-1), "kuramoto_r": 0} {
		if v, ok := m[name]; ok {
			f, err := strconv.ParseFloat(string(v), 64)
			if v.Kind() != '0' || err != nil || f < low || name == "kuramoto_r" && f > 1 {
				return true
			}
		}
	}
	if v, ok := m["channel_coherence"]; ok {
		var c map[string]jsontext.Value
		if v.Kind() != '{' || json.Unmarshal(v, &c) != nil {
			return true
		}
		for _, n := range c {
			if _, err := strconv.ParseFloat(string(n), 64); n.Kind() != '0' || err != nil {
				return true
			}
		}
	}
	return false
}

var rfc3339 = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$`)

func badTime(s string) bool {
	if !rfc3339.MatchString(s) {
		return true
	}
	var t time.Time
	if t.UnmarshalText(bytes.ToUpper([]byte(s))) != nil {
		return true
	}
	last := time.Unix(18446744073, 709551615)
	return t.Before(time.Unix(0, 0)) || t.After(last)
}

func seeds(f *testing.F) {
	n := 0
	add := func(line []byte) { f.Add(line); n++ }
	add([]byte(whole))
	for _, l := range steptest.Lines(20, 5) {
		add(l)
	}
	for _, part := range []string{
		`"ts":"2026-03-01T10:00:00.5+23:59"`, `"ts":"2554-07-21T23:34:33.70955161Z"`, `"kuramoto_r":1e-5`,
		`"channel_coherence":{"a":1}`, `"input":{"a":1,"\u0061":2}`, `"input":"\ud800"`, `"input":` + nested(MaxDepth-1),
		`"input":` + nested(MaxDepth), `"success":null`, `"duration_ms":-0`, `"":""`, `"input":"\\\"[{"`,
	} {
		add([]byte(with(part)))
	}
	if n == 0 {
		f.Fatal("the seed corpus is empty")
	}
}

func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := Decode(line)
		if (err != nil) != refused(line) {
			t.Fatalf("error is %v, and the reference refuses: %t\n%q", err, refused(line), line)
		}
		if err != nil {
			if fault.CodeOf(err) != fault.StepInvalid {
				t.Fatalf("error has the code %s", fault.CodeOf(err))
			}
			return
		}
		sameStep(t, s, mustDecode(t, s.AppendJSON(nil)))
		if err := s.Validate(); err != nil {
			t.Fatalf("what was decoded is not valid: %v", err)
		}
	})
}

// FuzzLines holds the Decoder against a plain split into lines.
func FuzzLines(f *testing.F) {
	seeds(f)
	f.Add([]byte("\n\n" + whole + "\r\nx\n" + whole))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := NewDecoder(bytes.NewReader(text))
		for i, line := range bytes.Split(text, []byte("\n")) {
			line = bytes.TrimSuffix(line, []byte("\r"))
			if len(bytes.Trim(line, " \t\r")) == 0 {
				continue
			}
			want, wantErr := Decode(line)
			got, err := d.Next()
			if (err != nil) != (wantErr != nil) || d.Line() != i+1 {
				t.Fatalf("line %d: got %v on line %d, want %v", i+1, err, d.Line(), wantErr)
			}
			if err == nil {
				sameStep(t, want, got)
			}
		}
		if _, err := d.Next(); !errors.Is(err, io.EOF) {
			t.Fatalf("the stream does not end: %v", err)
		}
	})
}
