package train

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/step"
)

// maxLogLine bounds what of one line of a run's output is looked at; slime's longest
// has some kilobytes.
const maxLogLine = 64 << 10

// What slime's loggers write (slime/backends/megatron_utils/model.py,
// slime/observability/*.py), and Megatron when it has saved a checkpoint. Ray puts
// the actor before each line, and its colours.
var (
	metricsLine = regexp.MustCompile(`(?:^|[\s-])(?:(critic)[-_ ]?)?(step|eval|rollout|perf) (\d{1,18}): (\{.*\})\s*$`)
	savedLine   = regexp.MustCompile(`successfully saved checkpoint from iteration\s+(\d{1,18})(?: to (\S+))?`)
	colours     = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")
)

// Log makes steps of what a run writes, as slime writes it, to each of its streams.
type Log struct {
	// RunID becomes the session of each step.
	RunID string
	// Record takes the steps, one after the other.
	Record func(step.Step)

	mu      sync.Mutex
	started bool      // guarded by mu
	last    time.Time // guarded by mu; when the last training step ended
}

// Stream is one stream of a log's run. Write takes the output in pieces of any size;
// it never fails, and never waits. It is for one goroutine; several streams may be
// written to at once.
type Stream struct {
	log  *Log
	line []byte
	skip bool // the rest of a line that was too long
}

// Stream begins a stream; Close it when the run has ended.
func (l *Log) Stream() *Stream { return &Stream{log: l} }

// Write is [io.Writer].
func (r *Stream) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		rest = after
		if len(r.line)+len(line) > maxLogLine {
			r.skip, r.line = true, r.line[:0]
		}
		if !r.skip {
			r.line = append(r.line, line...)
		}
		if ended {
			if !r.skip {
				r.read(string(r.line))
			}
			r.line, r.skip = r.line[:0], false
		}
	}
	return len(p), nil
}

// Close reads a last line without an end.
func (r *Stream) Close() {
	if len(r.line) > 0 && !r.skip {
		r.read(string(r.line))
	}
	r.line = nil
}

func (r *Stream) read(line string) {
	line = colours.ReplaceAllString(strings.TrimSuffix(line, "\r"), "")
	if m := savedLine.FindStringSubmatch(line); m != nil {
		metadata := `{"iteration":` + number(m[1])
		if m[2] != "" {
			metadata += `,"path":` + jsonText(m[2])
		}
		r.record(step.Checkpoint, "checkpoint "+number(m[1]), metadata+"}")
		return
	}
	m := metricsLine.FindStringSubmatch(line)
	if m == nil {
		return
	}
	metrics, ok := pythonNumbers(m[4])
	if !ok {
		return
	}
	action := step.TrainingStep
	switch m[2] {
	case "eval":
		action = step.EvalPhase
	case "rollout":
		action = step.Reward
	case "perf":
		return // what the rollout line says in other words
	}
	name := m[2] + " " + number(m[3])
	if m[1] != "" {
		name = m[1] + " " + name
	}
	r.record(action, name, `{"`+m[2]+`":`+number(m[3])+`,"metrics":`+metrics+`}`)
}

func (r *Stream) record(action, name, metadata string) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	s := step.Step{Action: action, Name: name, Time: now, Session: l.RunID, Metadata: []byte(metadata)}
	if action == step.TrainingStep {
		if l.started {
			ms := float64(now.Sub(l.last)) / float64(time.Millisecond)
			s.DurationMS = &ms
		}
		l.started, l.last = true, now
	}
	l.Record(s)
}

// number writes digits as a JSON number: without zeros ahead.
func number(digits string) string {
	if trimmed := strings.TrimLeft(digits, "0"); trimmed != "" {
		return trimmed
	}
	return "0"
}

// maxMetrics bounds how many numbers of one line are kept.
const maxMetrics = 256

// pythonNumbers makes a JSON object of the numbers of a Python dict, as its repr
// writes them; what is no finite number is left out. ok is false where text is no
// dict of such a form.
func pythonNumbers(text string) (object string, ok bool) {
	rest := strings.TrimSpace(text)
	rest, ok = strings.CutPrefix(rest, "{")
	if !ok {
		return "", false
	}
	seen := map[string]bool{}
	var b strings.Builder
	b.WriteByte('{')
	for n := 0; n < maxMetrics; {
		rest = strings.TrimLeft(rest, " ,")
		if strings.HasPrefix(rest, "}") || rest == "" {
			break
		}
		quote := rest[0]
		if quote != '\'' && quote != '"' {
			return "", false
		}
		end := strings.IndexByte(rest[1:], quote)
		if end < 0 {
			return "", false
		}
		name := rest[1 : 1+end]
		rest, ok = strings.CutPrefix(strings.TrimLeft(rest[end+2:], " "), ":")
		if !ok || strings.ContainsRune(name, '\\') {
			return "", false
		}
		var value string
		value, rest = pythonValue(strings.TrimLeft(rest, " "))
		f, err := strconv.ParseFloat(strings.ReplaceAll(value, "_", "x"), 64)
		if err != nil || f-f != 0 || seen[name] {
			continue // a text, nan, inf, None, True; or a name again
		}
		seen[name] = true
		if n > 0 {
			b.WriteByte(',')
		}
		n++
		b.WriteString(jsonText(name))
		b.WriteByte(':')
		b.WriteString(strconv.FormatFloat(f, 'g', -1, 64))
	}
	b.WriteByte('}')
	return b.String(), true
}

// jsonText is a text as JSON has it.
func jsonText(s string) string {
	b, _ := jsontext.AppendQuote(nil, strings.ToValidUTF8(s, "�")) // which is legal
	return string(b)
}

// pythonValue cuts one value off, up to the comma or brace that ends it.
func pythonValue(s string) (value, rest string) {
	depth := 0
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '(' || c == '[' || c == '{':
			depth++
		case depth > 0 && (c == ')' || c == ']' || c == '}'):
			depth--
		case depth == 0 && (c == ',' || c == '}'):
			value = strings.TrimSpace(s[:i])
			// np.float64(0.5) is how a newer numpy writes its numbers.
			if inner, ok := strings.CutSuffix(value, ")"); ok {
				if _, inner, ok = strings.Cut(inner, "("); ok && strings.HasPrefix(value, "np.") {
					value = inner
				}
			}
			return value, s[i:]
		}
	}
	return "", ""
}
