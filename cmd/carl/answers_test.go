package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"carl.camp/carl/host/camp/standin"
)

// TestStatusInWords plays each answer that a destination may give, and holds
// what `sync status` says against it: what waits, why, and which command helps.
// Then the trouble ends, that command is run, and all arrives under one id.
func TestStatusInWords(t *testing.T) {
	const resume = "carl sync --resume camp"
	cases := []struct {
		name, faults, url, token string
		state, reason, hint      string
		dead                     bool // the events are dead letters, and nothing waits
		mend                     []string
	}{
		{name: "down", url: "http://127.0.0.1:1", state: "backing_off", reason: "no answer", hint: "carl sync --watch", mend: []string{"sync", "--resume", "camp"}},
		{name: "reset", faults: "reset:1", state: "backing_off", reason: "connection reset", hint: "carl sync --watch", mend: []string{"sync", "--resume", "camp"}},
		{name: "lost answer", faults: "lost:1", state: "backing_off", reason: "no answer", hint: "carl sync --watch", mend: []string{"sync", "--resume", "camp"}},
		{name: "lying", faults: "lie:1", state: "backing_off", reason: "cannot be believed", hint: "carl sync --watch", mend: []string{"sync", "--resume", "camp"}},
		{name: "408", faults: "408:1", state: "backing_off", reason: "answered 408", hint: "carl sync --watch", mend: []string{"sync", "--resume", "camp"}},
		{name: "500", faults: "500:1", state: "backing_off", reason: "answered 500", hint: "carl sync --watch", mend: []string{"sync", "--resume", "camp"}},
		{name: "429 with Retry-After", faults: "429:1", state: "backing_off", reason: "answered 429", hint: "asked carl to wait", mend: []string{"sync", "--deadline", "30s"}},
		{name: "401", token: "dev-" + strings.Repeat("x", 30), state: "paused", reason: "answered 401", hint: "carl camp login", mend: []string{"camp", "login", "--token-stdin"}},
		{name: "403", faults: "403:1", state: "paused", reason: "answered 403", hint: resume, mend: []string{"sync", "--resume", "camp"}},
		{name: "404", faults: "404:1", state: "paused", reason: "answered 404", hint: resume, mend: []string{"sync", "--resume", "camp"}},
		{name: "413 to the last event", faults: "413:1", state: "ok", reason: "dead letter", hint: "carl dlq list", dead: true, mend: []string{"dlq", "replay", "--all"}},
		{name: "422", faults: "422:1", state: "ok", reason: "dead letter", hint: "carl dlq list", dead: true, mend: []string{"dlq", "replay", "--all"}},
		{name: "400", faults: "400:1", state: "ok", reason: "dead letter", hint: "carl dlq list", dead: true, mend: []string{"dlq", "replay", "--all"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in := install(t, c.faults)
			in.env = append(in.env, "CARL_CAMP_TOKEN=") // the stored one counts here
			token := c.token
			if token == "" {
				token = in.server.Token()
			}
			in.input(token, "camp", "login", "--token-stdin")
			well := in.env
			if c.url != "" {
				in.env = append(in.env, "CARL_CAMP_URL="+c.url)
			}
			var lines strings.Builder
			want := map[string]string{}
			for i := range 3 {
				id := fmt.Sprintf("%012x", i+1)
				fmt.Fprintf(&lines, `{"step_id":%q,"ts":"2026-11-23T00:00:00Z","action":"EXTERNAL","name":"s"}`+"\n", id)
				want[signalID(id, "action.dispatched")] = "action.dispatched"
			}
			in.input(lines.String(), "record", "-")

			// A deadline may be over before the plugins are compiled, so it takes several.
			var d destinationRow
			for range 20 {
				out, err := in.command("sync", "--deadline", "2s", "--json").Output()
				if d = in.destination("camp"); d.Reason == "not sent yet" || d.Reason == "sent, and not answered yet" || in.destination("archive").Pending > 0 {
					continue
				}
				if failed := err != nil; failed == c.dead {
					t.Errorf("sync: %v\n%s", err, out)
				}
				break
			}
			if d.State != c.state || !strings.Contains(d.Reason, c.reason) || !strings.Contains(d.Hint, c.hint) {
				t.Errorf("%s: %q; %q", d.State, d.Reason, d.Hint)
			}
			pending, dead := 3, 0
			if c.dead {
				pending, dead = 0, 3
			}
			if d.Pending != pending || d.DeadLetters != dead || d.Acknowledged != 0 {
				t.Errorf("%d pending, %d dead, %d acknowledged", d.Pending, d.DeadLetters, d.Acknowledged)
			}
			if people := string(in.must("sync", "status")); !strings.Contains(people, c.reason) || !strings.Contains(people, c.hint) {
				t.Errorf("people are told:\n%s", people)
			}

			in.server.SetFaults(standin.Faults{})
			in.env = well
			in.input(in.server.Token(), c.mend...)
			in.drain()
			held := map[string]string{}
			for _, id := range in.server.IDs() {
				held[id] = "action.dispatched"
			}
			if fmt.Sprint(held) != fmt.Sprint(want) {
				t.Errorf("the platform holds %v, want %v", held, want)
			}
			if n := len(in.server.Conflicts()); n != 0 {
				t.Errorf("%d ids came with two bodies", n)
			}
			if d := in.destination("camp"); d.State != "ok" || d.Pending+d.DeadLetters != 0 || d.Reason != "" {
				t.Errorf("in the end: %+v", d)
			}
		})
	}
}

// input runs the command with this on its standard input.
func (in *installation) input(stdin string, args ...string) {
	in.t.Helper()
	cmd := in.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		in.t.Fatalf("carl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// destinationRow is one destination of `sync status --json`.
type destinationRow struct {
	Name, State, Reason, Hint string
	Pending, Acknowledged     int
	DeadLetters               int `json:"dead_letters"`
}

func (in *installation) destination(name string) destinationRow {
	in.t.Helper()
	var report struct {
		Schema       string
		Destinations []destinationRow
	}
	decoder := json.NewDecoder(bytes.NewReader(in.must("sync", "status", "--json")))
	if err := decoder.Decode(&report); err != nil || report.Schema != "carl.sync/1" {
		in.t.Fatalf("sync status: %v, schema %q", err, report.Schema)
	}
	for _, d := range report.Destinations {
		if d.Name == name {
			return d
		}
	}
	in.t.Fatalf("sync status does not name %s", name)
	return destinationRow{}
}
