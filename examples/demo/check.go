package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
)

// due is what the bundled mapper makes of an action, beside the coherence
// update of every step that carries a coherence member. It is written out
// here a second time on purpose: the demo holds carl against it.
var due = map[string]string{
	"TRAINING_STEP": "skill.training_started",
	"CHECKPOINT":    "skill.crystallized",
	"LLM_REPLY":     "interaction.created",
	"REWARD":        "interaction.created",
	"EXTERNAL":      "action.dispatched",
}

const coherence = "coherence.update"

// check compares the ids that the platform and the local file hold with the
// ids that the recorded steps call for.
func (d *demo) check(ctx context.Context, stepFiles ...string) error {
	want := map[string]string{} // id → type
	for _, file := range stepFiles {
		if err := addDue(want, file); err != nil {
			return err
		}
	}
	if len(want) == 0 {
		return errors.New("nothing was due: the demo recorded no steps")
	}
	platform, err := readEvents(d.path("platform", "signals.jsonl"), unwrap)
	if err != nil {
		return err
	}
	archive, err := readEvents(d.path("archive", "signals.jsonl"), plain)
	if err != nil {
		return err
	}

	tw := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\ttype\tdue\tplatform\tfile\t")
	perType := func(held map[string]string, typ string) (n int) {
		for _, t := range held {
			if t == typ {
				n++
			}
		}
		return n
	}
	types := slices.Sorted(maps.Values(want))
	for _, typ := range slices.Compact(types) {
		fmt.Fprintf(tw, "\t%s\t%d\t%d\t%d\t\n", typ, perType(want, typ), perType(platform, typ), perType(archive, typ))
	}
	tw.Flush()
	for name, held := range map[string]map[string]string{"the platform": platform, "the local file": archive} {
		if !maps.Equal(held, want) {
			return fmt.Errorf("%s holds %d ids, and %d were due, or the ids differ", name, len(held), len(want))
		}
	}
	fmt.Printf("  ok: %d ids, each the SHA-256 of step_id:type, none missing, none besides\n", len(want))
	return nil
}

// addDue adds the ids that a file of steps calls for.
func addDue(want map[string]string, file string) error {
	return eachLine(file, func(line []byte) error {
		var s struct {
			ID        string           `json:"step_id"`
			Action    string           `json:"action"`
			Phi       *float64         `json:"phi"`
			KuramotoR *float64         `json:"kuramoto_r"`
			Coherence *json.RawMessage `json:"channel_coherence"`
		}
		if err := json.Unmarshal(line, &s); err != nil {
			return err
		}
		if typ, ok := due[s.Action]; ok {
			want[id(s.ID, typ)] = typ
		}
		if s.Phi != nil || s.KuramotoR != nil || s.Coherence != nil {
			want[id(s.ID, coherence)] = coherence
		}
		return nil
	})
}

func id(step, typ string) string {
	sum := sha256.Sum256([]byte(step + ":" + typ))
	return hex.EncodeToString(sum[:])
}

// plain takes a line as the event that it is; unwrap takes it out of the
// stand-in's line, which says when it came.
func plain(line []byte) ([]byte, error) { return line, nil }

func unwrap(line []byte) ([]byte, error) {
	var kept struct{ Event json.RawMessage }
	err := json.Unmarshal(line, &kept)
	return kept.Event, err
}

// readEvents reads a file of CloudEvents, one a line, and refuses an id that
// is not one and an id that stands there with two bodies.
func readEvents(file string, event func(line []byte) ([]byte, error)) (map[string]string, error) {
	held := map[string]string{}
	bodies := map[string]string{}
	err := eachLine(file, func(line []byte) error {
		body, err := event(line)
		if err != nil {
			return err
		}
		var e struct{ ID, Type string }
		if err := json.Unmarshal(body, &e); err != nil {
			return err
		}
		if len(e.ID) != hex.EncodedLen(sha256.Size) {
			return fmt.Errorf("%q is not the id of an event", e.ID)
		}
		if before, ok := bodies[e.ID]; ok && before != string(body) {
			return fmt.Errorf("the id %s has two bodies", e.ID)
		}
		held[e.ID], bodies[e.ID] = e.Type, string(body)
		return nil
	})
	return held, err
}

func eachLine(file string, f func([]byte) error) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 4<<20)
	for n := 1; sc.Scan(); n++ {
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		if err := f(sc.Bytes()); err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	return sc.Err()
}
