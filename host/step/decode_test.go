package step

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/step/steptest"
)

const whole = `{"step_id":"0123456789ab","action":"TRAINING_STEP","name":"fit","ts":"2026-03-01T10:00:00.123456789+02:00",` +
	`"session_id":"s","trace_id":"t","parent_id":"p","success":true,"duration_ms":1.5,"phi":-0.25,"kuramoto_r":1,` +
	`"channel_coherence":{"a":0.5,"b":-1e3},"input":{"x":[1,2]},"output":"out","metadata":null}`

func TestDecodeWholeStep(t *testing.T) {
	s, err := Decode([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if s.ID != "0123456789ab" || s.Action != TrainingStep || s.Name != "fit" ||
		s.Session != "s" || s.Trace != "t" || s.Parent != "p" {
		t.Errorf("strings differ: %+v", s)
	}
	if want := time.Date(2026, 3, 1, 8, 0, 0, 123456789, time.UTC); s.Time != want {
		t.Errorf("time is %v, want %v", s.Time, want)
	}
	if !*s.Success || *s.DurationMS != 1.5 || *s.Phi != -0.25 || *s.KuramotoR != 1 {
		t.Errorf("scalars differ: %v %v %v %v", *s.Success, *s.DurationMS, *s.Phi, *s.KuramotoR)
	}
	for _, f := range []struct{ got, want string }{
		{string(s.ChannelCoherence), `{"a":0.5,"b":-1e3}`}, {string(s.Input), `{"x":[1,2]}`},
		{string(s.Output), `"out"`}, {string(s.Metadata), `null`},
	} {
		if f.got != f.want {
			t.Errorf("JSON member is %s, want %s", f.got, f.want)
		}
	}
}

func TestDecodeLeavesAbsentMembersAbsent(t *testing.T) {
	s, err := Decode([]byte(` { "name" : "n" , "action" : "X" } ` + "\r"))
	if err != nil {
		t.Fatal(err)
	}
	if s.ID != "" || !s.Time.IsZero() || s.Success != nil || s.DurationMS != nil || s.Phi != nil ||
		s.KuramotoR != nil || s.ChannelCoherence != nil || s.Input != nil || s.Output != nil || s.Metadata != nil {
		t.Errorf("something came of nothing: %+v", s)
	}
}

// with returns a minimal step that has one more member.
func with(member string) string { return `{"action":"X","name":"n",` + member + `}` }

func nested(depth int) string {
	return strings.Repeat("[", depth) + strings.Repeat("]", depth)
}

func TestDecodeAccepts(t *testing.T) {
	for _, line := range []string{
		with(`"step_id":"ffffffffffff"`),
		with(`"step_id":"\u0030123456789ab"`),
		with(`"st\u0065p_id":"0123456789ab"`),
		with(`"ts":"1970-01-01T00:00:00Z"`),
		with(`"ts":"1970-01-01T01:00:00+01:00"`),
		with(`"ts":"1969-12-31T23:00:00-01:00"`),
		with(`"ts":"2554-07-21T23:34:33.709551615Z"`),
		with(`"ts":"2024-02-29t00:00:00.1z"`),
		with(`"ts":"2024-12-31T23:59:59.000000001-00:00"`),
		with(`"session_id":"","trace_id":"","parent_id":""`),
		with(`"duration_ms":0`), with(`"duration_ms":1e300`), with(`"duration_ms":1e-999`), with(`"duration_ms":-0.0`),
		with(`"kuramoto_r":0`), with(`"kuramoto_r":1.0`), with(`"phi":-1e308`),
		with(`"channel_coherence":{}`), with(`"channel_coherence":{"a:b":1,"c\"":2 , "":3}`),
		with(`"input":null,"output":false,"metadata":1e999`),
		with(`"input":` + nested(MaxDepth-1)),
		with(`"input":"` + strings.Repeat("[", 200) + `"`),
		with(`"unknown":{"a":[]},"Name":"x","NAME":1`),
		with(`"input":{"a":{"b":1},"c":{"b":1}}`),
		with(`"input":"\ud83d\ude42 語 \u0000"`),
		`{"action":"A","name":"` + strings.Repeat("n", MaxName) + `"}`,
		`{"action":"A","name":"` + strings.Repeat(`\u0041`, MaxName) + `"}`,
		`{"action":"A1_B2_3","name":"n"}`,
		"\t " + whole + " \r",
	} {
		if _, err := Decode([]byte(line)); err != nil {
			t.Errorf("%.120s: %v", line, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ line, says string }{
		{``, "ends in the middle"},
		{`{`, "ends in the middle"},
		{`hello`, "not valid JSON, at byte 1"},
		{`[]`, "an array, and must be an object"},
		{`null`, "null, and must be an object"},
		{`"x"`, "a string, and must be an object"},
		{"\xef\xbb\xbf" + whole, "byte order mark"},
		{whole + `x`, "something follows the object"},
		{whole + whole, "something follows the object"},
		{`{"action":"X","name":"n",}`, "not valid JSON"},
		{`{"action":"X" "name":"n"}`, "not valid JSON"},
		{`{'action':'X','name':'n'}`, "not valid JSON"},
		{`{"action":"X","name":"n"} // why`, "something follows"},
		{with(`"input":NaN`), "input: not valid JSON"},
		{with(`"input":01`), "not valid JSON"},
		{with(`"input":1.`), "input: not valid JSON"},
		{with(`"input":+1`), "input: not valid JSON"},
		{with(`"input":True`), "input: not valid JSON"},
		{with("\"input\":\"a\tb\""), "input: not valid JSON"},
		{with("\"input\":\"\x00\""), "input: not valid JSON"},
		{with(`"input":"\x41"`), "input: not valid JSON"},
		{with(`"input":"\ud800"`), "input: not valid JSON"},
		{with(`"input":"\ude42\ud83d"`), "input: not valid JSON"},
		{with("\"input\":\"\xff\""), "input: not valid UTF-8, at byte 35"},
		{with("\"input\":\"\xed\xa0\x80\""), "not valid UTF-8"},
		{with("\"input\":\"\xc0\xaf\""), "not valid UTF-8"},
		{with("\"\xff\":1"), "not valid UTF-8"},
		{with(`"name":"again"`), "name stands twice"},
		{with(`"n\u0061me":"again"`), "name stands twice"},
		{with(`"other":1,"other":1`), "two members of one name"},
		{with(`"input":{"a":1,"\u0061":2}`), "input: an object has two members of one name"},
		{with(`"unknown":[{"":1,"":2}]`), "two members of one name"},
		{with(`"channel_coherence":{"a":1,"a":1}`), "two members of one name"},
		{with(`"input":` + nested(MaxDepth)), "nested deeper than 64"},
		{with(`"input":` + strings.Repeat(`{"a":`, MaxDepth) + `1` + strings.Repeat(`}`, MaxDepth)), "nested deeper than 64"},
		{with(`"x":` + strings.Repeat("[", 100000)), "nested deeper than 64"},
		{`{"name":"n"}`, "action is missing"},
		{`{"action":"X"}`, "name is missing"},
		{`{"Action":"X","Name":"n"}`, "action is missing"},
		{`{"action":"","name":"n"}`, "action is missing"},
		{`{"action":"X","name":""}`, "name is missing"},
		{`{"action":"tool_call","name":"n"}`, "UPPER_SNAKE"},
		{`{"action":"TOOL-CALL","name":"n"}`, "UPPER_SNAKE"},
		{`{"action":"_X","name":"n"}`, "UPPER_SNAKE"},
		{`{"action":"X_","name":"n"}`, "UPPER_SNAKE"},
		{`{"action":"X__Y","name":"n"}`, "UPPER_SNAKE"},
		{`{"action":"1X","name":"n"}`, "UPPER_SNAKE"},
		{`{"action":"É","name":"n"}`, "UPPER_SNAKE"},
		{`{"action":1,"name":"n"}`, "action is a number, and must be a string"},
		{`{"action":"X","name":null}`, "name is null, and must be a string"},
		{`{"action":"X","name":["n"]}`, "name is an array, and must be a string"},
		{`{"action":"X","name":"` + strings.Repeat("n", MaxName+1) + `"}`, "name is longer than 256 bytes"},
		{`{"action":"X","name":"` + strings.Repeat("é", MaxName/2+1) + `"}`, "name is longer than 256 bytes"},
		{with(`"step_id":""`), "step_id is not 12"},
		{with(`"step_id":"0123456789AB"`), "step_id is not 12"},
		{with(`"step_id":"0123456789a"`), "step_id is not 12"},
		{with(`"step_id":"0123456789abc"`), "step_id is not 12"},
		{with(`"step_id":"0123456789ag"`), "step_id is not 12"},
		{with(`"step_id":123456789012`), "step_id is a number"},
		{with(`"session_id":7`), "session_id is a number"},
		{with(`"trace_id":{}`), "trace_id is an object"},
		{with(`"parent_id":false`), "parent_id is a boolean"},
		{with(`"success":"true"`), "success is a string, and must be true or false"},
		{with(`"success":null`), "success is null"},
		{with(`"success":1`), "success is a number"},
		{with(`"duration_ms":"1"`), "duration_ms is a string"},
		{with(`"duration_ms":-0.001`), "duration_ms is not a finite number from 0 up"},
		{with(`"duration_ms":1e999`), "duration_ms is a number too large"},
		{with(`"phi":1e400`), "phi is a number too large"},
		{with(`"phi":null`), "phi is null"},
		{with(`"kuramoto_r":1.0000001`), "kuramoto_r is not in [0,1]"},
		{with(`"kuramoto_r":-1e-9`), "kuramoto_r is not in [0,1]"},
		{with(`"kuramoto_r":true`), "kuramoto_r is a boolean"},
		{with(`"channel_coherence":[1]`), "channel_coherence is an array"},
		{with(`"channel_coherence":null`), "channel_coherence is null"},
		{with(`"channel_coherence":{"a":"1"}`), "channel_coherence has a member that is not a number"},
		{with(`"channel_coherence":{"a":null}`), "channel_coherence has a member that is not a number"},
		{with(`"channel_coherence":{"a":1,"b":{"c":2}}`), "channel_coherence has a member that is not a number"},
		{with(`"channel_coherence":{"a":1e999}`), "channel_coherence has a member that is not a number"},
		{with(`"ts":1740000000`), "ts is a number"},
		{with(`"ts":""`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01T10:00:00"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01 10:00:00Z"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01T10:00Z"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01T1:00:00Z"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01T10:00:00,5Z"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01T10:00:00.Z"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01T10:00:00.0123456789Z"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01T10:00:00+0200"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01T10:00:00+24:00"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01T10:00:00+02:60"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01T10:00:00Zx"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-02-29T10:00:00Z"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-13-01T10:00:00Z"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-00-01T10:00:00Z"`), "not an RFC 3339 time"},
		{with(`"ts":"2026-03-01T24:00:00Z"`), "not an RFC 3339 time"},
		{with(`"ts":"2016-12-31T23:59:60Z"`), "not an RFC 3339 time"},
		{with(`"ts":"+026-03-01T10:00:00Z"`), "not an RFC 3339 time"},
		{with(`"ts":"1969-12-31T23:59:59Z"`), "lies outside 1970"},
		{with(`"ts":"1970-01-01T00:59:59+01:00"`), "lies outside 1970"},
		{with(`"ts":"2554-07-21T23:34:33.709551616Z"`), "lies outside 1970"},
		{with(`"ts":"9999-12-31T23:59:59Z"`), "lies outside 1970"},
		{with(`"ts":"0000-01-01T00:00:00Z"`), "lies outside 1970"},
		{strings.Repeat(" ", MaxRecorded) + whole, "longer than 1048576 bytes"},
	} {
		_, err := Decode([]byte(c.line))
		if err == nil {
			t.Errorf("%.160q was accepted", c.line)
			continue
		}
		if fault.CodeOf(err) != fault.StepInvalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.160q: error is %q, want %q in it", c.line, err, c.says)
		}
	}
}

// The line may hold secrets, control bytes and megabytes: none of it belongs
// in a message.
func TestErrorsRepeatNothing(t *testing.T) {
	const marker = "marker-of-a-secret"
	for _, line := range []string{
		with(`"` + marker + `":1,"` + marker + `":2`),
		with(`"input":{"` + marker + `":1,"` + marker + `":2}`),
		with(`"ts":"` + marker + `"`), with(`"step_id":"` + marker + `"`),
		with(`"success":"` + marker + `"`), with(`"` + marker + `":nope`),
		with(`"channel_coherence":{"` + marker + `":"` + marker + `"}`),
		`{"action":"` + marker + `","name":"n"}`, marker, `"` + marker + `"`, `{"action":"X","name":"n"}` + marker,
		with("\"" + marker + "\x1b[31m\":1"), with(`"` + marker + `":"` + "\xff" + `"`),
	} {
		_, err := Decode([]byte(line))
		if err == nil {
			t.Errorf("%q was accepted", line)
			continue
		}
		if strings.Contains(err.Error(), marker) || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) || len(err.Error()) > 200 {
			t.Errorf("%q: the message repeats the input: %q", line, err)
		}
	}
}

func TestDecodeTakesHostileLines(t *testing.T) {
	lines := hostileLines()
	if len(lines) == 0 {
		t.Fatal("there is nothing to try")
	}
	for name, line := range lines {
		if len(line) > MaxLine {
			t.Errorf("%s: made too long", name)
		}
		if _, err := Decode(line); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One more name, and it is there already, however it is spelt.
	many := lines["many members"]
	for _, again := range []string{`"7"`, `"\u0037"`} {
		line := append(bytes.TrimSuffix(bytes.Clone(many), []byte("}}")), `,`+again+`:0}}`...)
		if _, err := Decode(line); err == nil || !strings.Contains(err.Error(), "two members") {
			t.Errorf("a second %s among many was not seen: %v", again, err)
		}
	}
}

func TestSampleAndSharedStepsAreSteps(t *testing.T) {
	lines := steptest.Lines(2000, 7)
	if text := sharedSteps(t); text != nil {
		lines = append(lines, bytes.Split(bytes.TrimSpace(text), []byte("\n"))...)
	}
	size := 0
	for i, l := range lines {
		s, err := Decode(l)
		if err != nil {
			t.Fatalf("line %d: %v\n%s", i, err, l)
		}
		sameStep(t, s, mustDecode(t, s.AppendJSON(nil)))
		size += len(l)
	}
	if mean := size / len(lines); mean < 1000 || mean > 2000 {
		t.Errorf("the mean line has %d bytes; the sample is meant to have 1 to 2 KB", mean)
	}
	if !bytes.Equal(steptest.File(50, 3), steptest.File(50, 3)) || bytes.Equal(steptest.File(50, 3), steptest.File(50, 4)) {
		t.Error("the sample does not depend on its seed alone")
	}
}

func mustDecode(tb testing.TB, line []byte) Step {
	tb.Helper()
	s, err := Decode(line)
	if err != nil {
		tb.Fatalf("%v\n%s", err, line)
	}
	return s
}

func sameStep(tb testing.TB, a, b Step) {
	tb.Helper()
	if x, y := show(a), show(b); x != y {
		tb.Fatalf("steps differ:\n%s\n%s", x, y)
	}
}

func show(s Step) string {
	num := func(f *float64) string {
		if f == nil {
			return "-"
		}
		return fmt.Sprint(math.Float64bits(*f))
	}
	success := "-"
	if s.Success != nil {
		success = fmt.Sprint(*s.Success)
	}
	return fmt.Sprintf("%q %q %q %v %q %q %q %s %s %s %s %q %q %q %q", s.ID, s.Action, s.Name, s.Time, s.Session, s.Trace, s.Parent,
		success, num(s.DurationMS), num(s.Phi), num(s.KuramotoR), s.ChannelCoherence, s.Input, s.Output, s.Metadata)
}
