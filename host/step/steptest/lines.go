// Package steptest makes step lines for tests and benchmarks: an agent at work
// on a repository, in the sizes and the mix of characters that such steps have
// (1 to 2 KB, source code with its escapes, now and then other scripts).
package steptest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Lines returns n step lines without line ends. Equal arguments give equal
// bytes, on every machine. No line holds anything that looks like a secret.
func Lines(n int, seed uint64) [][]byte {
	g := generator{rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
	g.start()
	lines := make([][]byte, n)
	for i := range lines {
		lines[i] = []byte(g.line(i))
	}
	return lines
}

// File returns n step lines as one text, each with a line end.
func File(n int, seed uint64) []byte {
	var b []byte
	for _, l := range Lines(n, seed) {
		b = append(b, l...)
		b = append(b, '\n')
	}
	return b
}

type generator struct {
	rand           *rand.Rand
	at             time.Time
	session, trace string
	last           string
}

// sessionLength is how many steps one session has.
const sessionLength = 40

func (g *generator) start() {
	g.at = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC).Add(time.Duration(g.rand.Int64N(int64(24 * time.Hour))))
	g.session, g.trace, g.last = g.hex(16), g.hex(32), ""
}

func (g *generator) line(i int) string {
	if i%sessionLength == sessionLength-1 {
		g.start()
	}
	g.at = g.at.Add(time.Duration(g.rand.Int64N(int64(8 * time.Second))))
	id := g.hex(12)
	kind := g.rand.IntN(8)
	action, name := "LLM_REPLY", "assistant"
	switch kind {
	case 0:
		action, name = "USER_INPUT", "request"
	case 1, 2, 3:
		action, name = "TOOL_CALL", pick(g, tools)
	case 4:
		action, name = "CLI_CMD", "shell"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `{"step_id": "%s", "action": "%s", "name": "%s", "ts": "%s", "session_id": "%s", "trace_id": "%s", "success": %t`,
		id, action, name, g.at.Format(time.RFC3339Nano), g.session, g.trace, g.rand.IntN(9) > 0)
	if g.last != "" {
		fmt.Fprintf(&b, `, "parent_id": "%s"`, g.last)
	}
	fmt.Fprintf(&b, `, "duration_ms": %.3f`, g.rand.Float64()*4000)
	if action == "LLM_REPLY" {
		fmt.Fprintf(&b, `, "phi": %.6f, "kuramoto_r": %.6f, "channel_coherence": {"language": %.4f, "tool": %.4f}`,
			g.rand.Float64(), g.rand.Float64(), g.rand.Float64(), g.rand.Float64())
	}
	size := 600 + g.rand.IntN(1000)
	switch action {
	case "USER_INPUT":
		fmt.Fprintf(&b, `, "input": {"text": %s}`, quote(g.prose(size)))
	case "CLI_CMD", "TOOL_CALL":
		fmt.Fprintf(&b, `, "input": {"path": %s, "line": %d, "flags": ["-n", "--max-count=%d"]}, "output": {"text": %s, "exit_status": %d}`,
			quote(g.path()), g.rand.IntN(900), g.rand.IntN(50), quote(g.code(size)), g.rand.IntN(2))
	default:
		args := fmt.Sprintf(`{"command": "grep -rn %s %s", "timeout": %d}`, pick(g, nouns), g.path(), g.rand.IntN(60))
		fmt.Fprintf(&b, `, "output": {"thought": %s, "tool_calls": [{"id": "call_%s", "type": "function", "function": {"name": "%s", "arguments": %s}}], "usage": {"prompt_tokens": %d, "completion_tokens": %d, "total_tokens": %d}}`,
			quote(g.prose(size)), g.hex(12), pick(g, tools), quote(args), g.rand.IntN(9000), g.rand.IntN(900), g.rand.IntN(9900))
	}
	fmt.Fprintf(&b, `, "metadata": {"agent": "main", "turn": %d, "model": "local-7b", "cost": %.4f}}`, i%sessionLength, g.rand.Float64())
	g.last = id
	return b.String()
}

func (g *generator) hex(digits int) string {
	var b strings.Builder
	for range digits {
		b.WriteString(strconv.FormatInt(g.rand.Int64N(16), 16))
	}
	return b.String()
}

func (g *generator) path() string {
	return fmt.Sprintf("src/%s/%s_%s.py", pick(g, nouns), pick(g, nouns), pick(g, nouns))
}

func (g *generator) prose(size int) string {
	var b strings.Builder
	for b.Len() < size {
		fmt.Fprintf(&b, "%s the %s in `%s` %s the %s", pick(g, openings), pick(g, nouns), g.path(), pick(g, verbs), pick(g, nouns))
		switch g.rand.IntN(12) {
		case 0:
			b.WriteString(" (see https://docs.example.org/guide?page=2&lang=en#" + pick(g, nouns) + ")")
		case 1:
			b.WriteString(pick(g, foreign))
		}
		b.WriteString(pick(g, stops))
	}
	return b.String()
}

func (g *generator) code(size int) string {
	var b strings.Builder
	for line := 1 + g.rand.IntN(400); b.Len() < size; line++ {
		switch g.rand.IntN(5) {
		case 0:
			fmt.Fprintf(&b, "%d:def %s_%s(self, %s, max_tokens=%d):\n", line, pick(g, verbs), pick(g, nouns), pick(g, nouns), g.rand.IntN(4096))
		case 1:
			fmt.Fprintf(&b, "%d:    if %s[\"%s\"] is None:\n", line, pick(g, nouns), pick(g, nouns))
		case 2:
			fmt.Fprintf(&b, "%d:        raise ValueError(f\"no %s for {%s!r}: expected '%s'\")\n", line, pick(g, nouns), pick(g, nouns), pick(g, nouns))
		case 3:
			fmt.Fprintf(&b, "%d:    %s = {k: v for k, v in %s.items() if k.startswith('%s')}\n", line, pick(g, nouns), pick(g, nouns), pick(g, nouns))
		default:
			fmt.Fprintf(&b, "%d:\treturn self.%s.%s(%s)  # %s the %s\n", line, pick(g, nouns), pick(g, verbs), pick(g, nouns), pick(g, verbs), pick(g, nouns))
		}
	}
	return b.String()
}

func pick(g *generator, from []string) string { return from[g.rand.IntN(len(from))] }

// quote writes a JSON string with everything outside ASCII escaped, as
// Python's json module does and agents therefore mostly do.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		case r > 0x7e:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

var (
	tools    = []string{"read_file", "search", "edit", "run_tests", "list_dir"}
	nouns    = []string{"parser", "tokenizer", "keyboard", "monkey", "cache", "schema", "request", "handler", "index", "buffer", "model", "config", "branch", "record", "matrix", "queue", "hf_checkpoint", "task", "risk", "primary_key", "session"}
	verbs    = []string{"reads", "drops", "checks", "returns", "wraps", "moves", "counts", "splits", "merges", "keeps"}
	openings = []string{"Now", "It seems that", "Next I look at", "Because", "The test says that", "First", "Let me see how"}
	stops    = []string{". ", ".\n", ".\n\n", ", and then ", ": ", "; "}
	foreign  = []string{" — naïve", " («déjà vu»)", " 同期する振動子", " 🙂", " größer als 0"}
)
