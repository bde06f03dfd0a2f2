package yamltree

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// searchBudget bounds the bytes that are parsed again to find the place of a
// syntax error: some hundred tries in a file of ordinary size, and a third of
// a second in the worst file that was found (ten thousand open brackets).
const searchBudget = 1 << 20

var yamlPrefix = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax says where the YAML package lost its way. Its own messages name no
// column, no line at all for the first one, and for some errors the line
// where the enclosing block began; so the longest part of the file that is
// well-formed is looked for, and the error is at its end.
func (r *reader) syntax(data []byte, err error) *Error {
	message := yamlPrefix.ReplaceAllString(err.Error(), "")
	at := r.wellFormedUpTo(data)
	if at.Line == 0 {
		at = Pos{1, 1}
		if m := yamlPrefix.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
			at.Line, _ = strconv.Atoi(m[1])
		}
	}
	if line := lineOf(data, at.Line); strings.Contains(indent(line), "\t") {
		at.Column = strings.IndexByte(line, '\t') + 1
		message = "a tab cannot indent: use spaces"
	}
	return r.refuse(at, "not valid YAML: %s", message)
}

// wellFormedUpTo returns the place where the longest well-formed prefix of
// data ends, or a zero Pos when it was not found within the budget.
func (r *reader) wellFormedUpTo(data []byte) Pos {
	budget := searchBudget
	fine := func(prefix []byte) bool {
		budget -= len(prefix) + 1
		return budget >= 0 && wellFormed(prefix)
	}
	// Whole lines first, from where the parser stopped reading backwards.
	end := stoppedAt(data)
	for {
		start := bytes.LastIndexByte(data[:max(end-1, 0)], '\n') + 1
		if start == 0 || fine(data[:start]) {
			break
		}
		if budget < 0 {
			return Pos{}
		}
		end = start
	}
	start := bytes.LastIndexByte(data[:max(end-1, 0)], '\n') + 1
	line := data[start:end]
	at := Pos{Line: bytes.Count(data[:start], []byte("\n")) + 1, Column: 1}
	first := len(line) - len(bytes.TrimLeft(line, " "))
	column := len(bytes.TrimRight(line, "\r\n"))
	for column > first && !fine(data[:start+column]) {
		if budget < 0 {
			column = first
			break
		}
		column--
	}
	at.Column += utf8.RuneCount(line[:column])
	return at
}

func wellFormed(data []byte) bool {
	documents := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		if err := decode(documents, &n); err != nil {
			return err == io.EOF
		}
	}
}

// stoppedAt returns how many bytes the YAML package asks for before it gives up.
func stoppedAt(data []byte) int {
	in := &byteByByte{data: data}
	documents := yaml.NewDecoder(in)
	for {
		var n yaml.Node
		if decode(documents, &n) != nil {
			return in.read
		}
	}
}

type byteByByte struct {
	data []byte
	read int
}

func (b *byteByByte) Read(p []byte) (int, error) {
	if b.read == len(b.data) {
		return 0, io.EOF
	}
	p[0] = b.data[b.read]
	b.read++
	return 1, nil
}

func lineOf(data []byte, number int) string {
	for line := range bytes.Lines(data) {
		if number--; number == 0 {
			return string(line)
		}
	}
	return ""
}

func indent(line string) string {
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}
