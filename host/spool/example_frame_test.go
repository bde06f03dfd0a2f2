package spool

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

var exampleFrame = frame{
	seq:     42,
	time:    time.Date(2026, 11, 23, 1, 2, 3, 456789000, time.UTC).UnixNano(),
	epoch:   2,
	payload: []byte(`{"step_id":"5f0c6e1ab2d4","action":"REWARD","name":"r"}`),
}

// TestWorkedExample recomputes the bytes that the package comment shows.
func TestWorkedExample(t *testing.T) {
	src, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^//\t([0-9a-f]{2}(?: [0-9a-f]{2})*)  `).FindAllStringSubmatch(string(src), -1)
	var shown strings.Builder
	for _, l := range lines {
		shown.WriteString(strings.ReplaceAll(l[1], " ", ""))
	}
	want := hex.EncodeToString(appendFrame(nil, exampleFrame))
	if shown.String() != want {
		t.Fatalf("doc.go shows\n%s\nand the frame is\n%s", shown.String(), want)
	}
	if !strings.Contains(string(src), string(exampleFrame.payload)) {
		t.Error("doc.go does not show the payload")
	}
	state, err := seal(stateFile{
		V: version, Destination: "camp", Acknowledged: 3, Updated: time.Unix(0, exampleFrame.time).UTC(),
		Slots: []slotState{{Slot: 0, Mark: 41, Spans: []span{{43, 45}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(state)) {
		if !strings.Contains(string(src), "//\t"+line) {
			t.Errorf("doc.go does not show %s", line)
		}
	}
}
