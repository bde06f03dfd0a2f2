package main

import (
	"bytes"
	"strings"

	"carl.camp/carl/sdk/forwarder"
	"carl.camp/carl/sdk/json"
)

const (
	defaultFile       = "signals.jsonl"
	defaultLedgerFile = "ledger.jsonl"
	// maxPath bounds a setting, in bytes: file systems take no longer name.
	maxPath = 255
)

// lines is the destination: a file for each topic.
type lines struct {
	append func(path string, data []byte) error
	// file and ledgerFile are "" until Open has accepted the settings.
	file, ledgerFile string
}

// Open takes {"file"?, "ledger_file"?}.
func (l *lines) Open(settings string) error {
	l.file, l.ledgerFile = "", ""
	v, err := json.Parse(settings)
	if err != nil {
		return misconfigured("the settings are " + err.Error())
	}
	if err := v.Only("file", "ledger_file"); err != nil {
		return misconfigured("the settings: " + err.Error())
	}
	var found [2]json.Value
	if err := v.Pick([]string{"file", "ledger_file"}, found[:]); err != nil {
		return misconfigured("the settings: " + err.Error())
	}
	file, ok := path(found[0], defaultFile)
	if !ok {
		return misconfigured(`setting "file" must be a path below the granted directory, such as ` + defaultFile)
	}
	ledgerFile, ok := path(found[1], defaultLedgerFile)
	if !ok {
		return misconfigured(`setting "ledger_file" must be a path below the granted directory, such as ` + defaultLedgerFile)
	}
	if file == ledgerFile {
		return misconfigured(`settings "file" and "ledger_file" name the same file`)
	}
	l.file, l.ledgerFile = file, ledgerFile
	return nil
}

// path finds what can be no path early, when the settings are read; carl
// checks each append again.
func path(v json.Value, otherwise string) (string, bool) {
	if v.Kind() == json.Absent {
		return otherwise, true
	}
	s, ok := v.Str()
	if !ok || s == "" || len(s) > maxPath || strings.ContainsAny(s, "\\:\x00") {
		return "", false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." {
			return "", false
		}
	}
	return s, true
}

// Deliver appends the whole batch at once. A body that is not one line would
// break the file for its readers, and is refused for good.
func (l *lines) Deliver(topic forwarder.Topic, events []forwarder.Event) ([]forwarder.Outcome, error) {
	file := l.file
	if topic == forwarder.Ledger {
		file = l.ledgerFile
	}
	if file == "" {
		return nil, misconfigured("nothing is delivered before the settings were accepted")
	}
	size := 0
	for i := range events {
		size += len(events[i].Body) + len("\n")
	}
	text := make([]byte, 0, size)
	outcomes := make([]forwarder.Outcome, len(events))
	for i := range events {
		if wrong := notALine(events[i].Body); wrong != "" {
			outcomes[i] = forwarder.Rejected(wrong)
			continue
		}
		text = append(text, events[i].Body...)
		text = append(text, '\n')
		outcomes[i] = forwarder.Accepted("")
	}
	if len(text) == 0 {
		return outcomes, nil
	}
	if err := l.append(file, text); err != nil {
		// A full disk and a missing grant look alike from here; neither loses
		// anything by another try, and the message says which it is.
		return nil, &forwarder.Failure{Kind: forwarder.Unavailable, Message: "nothing was appended to " + file + ": " + err.Error()}
	}
	return outcomes, nil
}

// notALine says why body cannot be a line of the file, or "". That it is JSON
// is the host's promise, who wrote it; what would break the file for its
// readers is looked for, which costs a twentieth of parsing.
func notALine(body []byte) string {
	switch {
	case len(body) < len("{}") || body[0] != '{' || body[len(body)-1] != '}':
		return "the body is not a JSON object"
	case bytes.IndexByte(body, '\n') >= 0 || bytes.IndexByte(body, '\r') >= 0:
		return "the body is not one line"
	}
	return ""
}

func misconfigured(message string) *forwarder.Failure {
	return &forwarder.Failure{Kind: forwarder.Misconfigured, Message: message}
}
