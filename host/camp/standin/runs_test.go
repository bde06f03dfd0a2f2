package standin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/fault"
)

const (
	runsPath      = "/api/training/slime/runs"
	resonantsPath = "/api/resonants"
)

// client is carl's own, logged in to p.
func (p *platform) client(t testing.TB) *camp.Client {
	t.Helper()
	u, err := camp.ParseURL(p.url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := camp.NewClient(camp.ClientOptions{URL: u, Paths: camp.DefaultPaths(), Token: p.Token(), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const goodPayload = `{"args":{"slime_args_version":1,"entrypoint":"train.py","args":{"hf_checkpoint":"/models/Qwen3-4B","rollout_batch_size":32,"num_rollout":12},` +
	`"megatron":{"num_layers":36,"swiglu":true},"sglang":{"sglang_mem_fraction_static":0.7},"router":{}},` +
	`"argv":["--hf-checkpoint","/models/Qwen3-4B"],"backend":"slime","config_digest":"4be0643f1d984573b97cdca98a65347d4be0643f1d984573b97cdca98a65347d"}`

func TestRunFromSubmissionToResonant(t *testing.T) {
	h := newHand()
	p := start(t, Options{Tier: "paid", Clock: h.clock})
	c := p.client(t)
	run, created, err := c.SubmitRun(t.Context(), []byte(goodPayload), "key-1")
	if err != nil || !created || run.Status != "queued" {
		t.Fatalf("%+v, %v, %v", run, created, err)
	}
	again, created, err := c.SubmitRun(t.Context(), []byte(" "+goodPayload+"\n"), "key-1")
	if err != nil || created || again.ID != run.ID || again.Status != "queued" {
		t.Fatalf("again: %+v, %v, %v", again, created, err)
	}
	for _, s := range []struct {
		after  time.Duration
		status string
		step   int64
	}{{0, "queued", 0}, {time.Second, "running", 0}, {2500 * time.Millisecond, "running", 6}, {10 * time.Second, "succeeded", 12}} {
		h.pass(s.after)
		got, err := c.Run(t.Context(), run.ID)
		if err != nil || got.Status != s.status || got.ID != run.ID {
			t.Fatalf("%+v, %v, want %s", got, err, s.status)
		}
		if s.status == "queued" {
			if got.Step != nil || got.Progress != nil {
				t.Errorf("%+v", got)
			}
			continue
		}
		if *got.Step != s.step || *got.TotalSteps != 12 || *got.Progress != float64(s.step)/12 {
			t.Errorf("%+v: step %d of %d, %v", got, *got.Step, *got.TotalSteps, *got.Progress)
		}
	}
	body := bytes.Repeat([]byte("weights "), 1<<17)
	var told []int64
	id, err := c.PublishResonant(t.Context(), bytes.NewReader(body), int64(len(body)), run.ID, "res-1", func(sent int64) { told = append(told, sent) })
	if err != nil {
		t.Fatal(err)
	}
	if len(told) == 0 || told[len(told)-1] != int64(len(body)) {
		t.Errorf("told %v", told)
	}
	sum := sha256.Sum256(body)
	if r, ok := p.Resonant(id); !ok || r.SHA256 != hex.EncodeToString(sum[:]) || r.Size != int64(len(body)) || r.RunID != run.ID {
		t.Errorf("held: %+v", r)
	}
	runs, err := c.Runs(t.Context())
	if err != nil || len(runs) != 1 || runs[0].ResonantID != id || runs[0].Status != "succeeded" {
		t.Errorf("%+v, %v", runs, err)
	}
	if got, ok := p.Payload(run.ID); !ok || string(got) != goodPayload {
		t.Errorf("payload %s", got)
	}
	if s := p.Summary(); s.Runs != 1 || s.Resonants != 1 {
		t.Errorf("%+v", s)
	}
}

// submit posts a payload under a key, which "" leaves out.
func (p *platform) submit(t testing.TB, key, body string, change ...func(*http.Request)) (int, string) {
	t.Helper()
	resp, text := p.do(t, "POST", runsPath, "application/json", body, append([]func(*http.Request){func(r *http.Request) {
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
	}}, change...)...)
	return resp.StatusCode, text
}

// begin submits a good payload under a key, and returns the id of its run.
func (p *platform) begin(t testing.TB, key string) string {
	t.Helper()
	status, text := p.submit(t, key, goodPayload)
	var doc begun
	if err := json.Unmarshal([]byte(text), &doc, json.RejectUnknownMembers(true)); status != 201 || err != nil || !isUUID(doc.RunID) || doc.Status != "queued" {
		t.Fatalf("answered %d %s", status, text)
	}
	return doc.RunID
}

// status asks how a run is.
func (p *platform) status(t testing.TB, id string) runDoc {
	t.Helper()
	resp, text := p.do(t, "GET", runsPath+"/"+id, "", "")
	var doc runDoc
	if err := json.Unmarshal([]byte(text), &doc, json.RejectUnknownMembers(true)); resp.StatusCode != 200 || err != nil {
		t.Fatalf("answered %d %s", resp.StatusCode, text)
	}
	return doc
}

func TestSubmissionsThatAreRefused(t *testing.T) {
	p := start(t, Options{Tier: "paid"})
	for name, c := range map[string]struct {
		key, body string
		change    func(*http.Request)
		status    int
		code      string
	}{
		"no key":          {"", goodPayload, nil, 422, "invalid_idempotency_key"},
		"a key too long":  {strings.Repeat("k", 129), goodPayload, nil, 422, "invalid_idempotency_key"},
		"a key of two":    {"a b", goodPayload, nil, 422, "invalid_idempotency_key"},
		"a key not ASCII": {"caf\xc3\xa9", goodPayload, nil, 422, "invalid_idempotency_key"},
		"two keys":        {"a", goodPayload, func(r *http.Request) { r.Header.Add("Idempotency-Key", "a") }, 422, "invalid_idempotency_key"},
		"another type":    {"a", goodPayload, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415, "unsupported_media_type"},
		"no type":         {"a", goodPayload, func(r *http.Request) { r.Header.Del("Content-Type") }, 415, "unsupported_media_type"},
		"encoded":         {"a", goodPayload, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 415, "unsupported_encoding"},
		"too large":       {"a", goodPayload + strings.Repeat(" ", maxPayload), nil, 413, "too_large"},
		"far too large":   {"a", strings.Repeat(" ", maxBody+1), nil, 413, "too_large"},
		"no token":        {"a", goodPayload, func(r *http.Request) { r.Header.Del("Authorization") }, 401, "unauthorized"},
		"another method":  {"a", "", func(r *http.Request) { r.Method = "PUT" }, 405, "method_not_allowed"},
	} {
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		status, text := p.submit(t, c.key, c.body, change)
		if got := refusal(t, text); status != c.status || got.Code != c.code {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	for _, id := range []string{newUUID(), "x", strings.ToUpper(newUUID())} {
		if resp, text := p.do(t, "GET", runsPath+"/"+id, "", ""); resp.StatusCode != 404 || refusal(t, text).Code != "not_found" {
			t.Errorf("%s: %d %s", id, resp.StatusCode, text)
		}
	}
	if s := p.Summary(); s.Runs != 0 {
		t.Errorf("%+v", s)
	}
	// The charset, and the longest of keys.
	if status, text := p.submit(t, strings.Repeat("~", 128), goodPayload, func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=UTF-8") }); status != 201 {
		t.Errorf("%d %s", status, text)
	}
}

func TestWhoMaySubmit(t *testing.T) {
	h := newHand()
	p := start(t, Options{Clock: h.clock})
	// Who may not is told so before anything is said of the payload.
	for _, body := range []string{goodPayload, "{}"} {
		status, text := p.submit(t, "a", body)
		if got := refusal(t, text); status != 402 || got.Code != "upgrade_required" || !strings.Contains(got.Message, "Pro") || !strings.Contains(got.Message, "train.slime.managed") || !strings.Contains(got.Message, "Free") {
			t.Errorf("%d %s", status, text)
		}
	}
	if err := p.Grant("train.slime.managed", time.Hour); err != nil {
		t.Fatal(err)
	}
	id := p.begin(t, "a")
	h.pass(2 * time.Hour)
	if status, _ := p.submit(t, "b", goodPayload); status != 402 {
		t.Errorf("after the grant: %d", status)
	}
	// What was begun is answered as it was.
	if status, text := p.submit(t, "a", goodPayload); status != 200 || !strings.Contains(text, id) {
		t.Errorf("again: %d %s", status, text)
	}
	if got := p.status(t, id); got.Status != "succeeded" {
		t.Errorf("%+v", got)
	}
	if err := p.SetTier("paid"); err != nil {
		t.Fatal(err)
	}
	p.begin(t, "b")
}

func TestOneKeyOneRun(t *testing.T) {
	p := start(t, Options{Tier: "paid"})
	id := p.begin(t, "a")
	spaced := jsontext.Value(goodPayload)
	if err := spaced.Indent(); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{goodPayload, string(spaced), goodPayload + "\n"} {
		if status, text := p.submit(t, "a", body); status != 200 || text != `{"run_id":"`+id+`","status":"queued"}`+"\n" {
			t.Errorf("%d %s", status, text)
		}
	}
	for _, body := range []string{strings.Replace(goodPayload, "36", "37", 1), "{}", "", "nonsense", goodPayload[1:]} {
		if status, text := p.submit(t, "a", body); status != 409 || refusal(t, text).Code != "idempotency_conflict" {
			t.Errorf("%.20q: %d %s", body, status, text)
		}
	}
	if other := p.begin(t, "b"); other == id {
		t.Error("two keys have one run")
	}
	// Sixteen at once, all of one key.
	ids := make([]string, 16)
	var wg sync.WaitGroup
	created := make(chan bool, len(ids))
	c := p.client(t)
	for i := range ids {
		wg.Go(func() {
			run, made, err := c.SubmitRun(context.Background(), []byte(goodPayload), "shared")
			if err != nil {
				t.Error(err)
			}
			ids[i] = run.ID
			created <- made
		})
	}
	wg.Wait()
	close(created)
	n := 0
	for made := range created {
		if made {
			n++
		}
	}
	if slices.Sort(ids); n != 1 || ids[0] != ids[len(ids)-1] || p.Summary().Runs != 3 {
		t.Errorf("%d were created: %v", n, ids)
	}
}

// with changes the good payload: members of the payload, or with args/ of it.
func with(t testing.TB, pairs ...string) string {
	t.Helper()
	var doc map[string]jsontext.Value
	if err := json.Unmarshal([]byte(goodPayload), &doc); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		path := strings.Split(pairs[i], "/")
		doc[path[0]] = setIn(t, doc[path[0]], path[1:], pairs[i+1])
		if doc[path[0]] == nil {
			delete(doc, path[0])
		}
	}
	body, err := json.Marshal(doc, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func setIn(t testing.TB, in jsontext.Value, path []string, value string) jsontext.Value {
	t.Helper()
	if len(path) == 0 {
		if value == "" {
			return nil
		}
		return jsontext.Value(value)
	}
	var doc map[string]jsontext.Value
	if err := json.Unmarshal(in, &doc); err != nil {
		t.Fatal(err)
	}
	if doc[path[0]] = setIn(t, doc[path[0]], path[1:], value); doc[path[0]] == nil {
		delete(doc, path[0])
	}
	out, err := json.Marshal(doc, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPayloadsThatAreRefused(t *testing.T) {
	deep := strings.Repeat(`{"a":`, maxPayloadDepth) + "1" + strings.Repeat("}", maxPayloadDepth)
	for _, c := range []struct{ body, path, says string }{
		{"", "", "not a JSON object"}, {"null", "", "not a JSON object"}, {"[]", "", "not a JSON object"}, {`"x"`, "", "not a JSON object"},
		{"{", "", "ends too early"}, {goodPayload + "{}", "", "follows"}, {goodPayload + " x", "", "not valid JSON"}, {"{\"a\":\"\xff\"}", "/a", "not valid JSON"},
		{goodPayload[:len(goodPayload)-1] + `,"backend":"slime"}`, "/backend", "twice"},
		{strings.Replace(goodPayload, `"num_rollout":12`, `"num_rollout":12,"num_rollout":13`, 1), "/args/args/num_rollout", "twice"},
		{with(t, "backend", `"acme.dev/verl"`, "args", deep), "", "nested deeper"},
		{with(t, "args", ""), "/args", "missing"}, {with(t, "argv", ""), "/argv", "missing"}, {with(t, "backend", ""), "/backend", "missing"}, {with(t, "config_digest", ""), "/config_digest", "missing"},
		{with(t, "more", `1`), "/more", "no such member"}, {with(t, "Args", `{}`), "/Args", "no such member"}, {with(t, "a~1", `1`), "/a~01", "no such member"},
		{with(t, "backend", `7`), "/backend", "name of a backend"}, {with(t, "backend", `""`), "/backend", "name of a backend"}, {with(t, "backend", `"a//b"`), "/backend", "name"},
		{with(t, "backend", `"../slime"`), "/backend", "name"}, {with(t, "backend", `"Slime"`), "/backend", "name"}, {with(t, "backend", `"`+strings.Repeat("s", 129)+`"`), "/backend", "name"},
		{with(t, "config_digest", `"4BE0`+strings.Repeat("0", 60)+`"`), "/config_digest", "64 lowercase"}, {with(t, "config_digest", `7`), "/config_digest", "64 lowercase"},
		{with(t, "argv", `{}`), "/argv", "not a list"}, {with(t, "argv", `["a",7]`), "/argv/1", "not a text"}, {with(t, "argv", `["a\u0000b"]`), "/argv/0", "NUL"},
		{with(t, "argv", "["+strings.Repeat(`"",`, maxArgv)+`""]`), "/argv", "more than"},
		{with(t, "args", `[]`), "/args", "not an object"}, {with(t, "backend", `"acme.dev/verl"`, "args", `[]`), "/args", "not an object"},
		{with(t, "args/slime_args_version", ""), "/args/slime_args_version", "missing"}, {with(t, "args/slime_args_version", "2"), "/args/slime_args_version", "not 1"}, {with(t, "args/slime_args_version", `"1"`), "/args/slime_args_version", "not 1"},
		{with(t, "args/entrypoint", ""), "/args/entrypoint", "missing"}, {with(t, "args/entrypoint", `"main.py"`), "/args/entrypoint", "neither"}, {with(t, "args/entrypoint", `1`), "/args/entrypoint", "neither"},
		{with(t, "args/args", ""), "/args/args", "missing"}, {with(t, "args/args", "[]"), "/args/args", "not an object"}, {with(t, "args/fsdp", "{}"), "/args/fsdp", "no such member"},
		{with(t, "args/megatron", "7"), "/args/megatron", "not an object"}, {with(t, "args/router", "null"), "/args/router", "not an object"},
		{with(t, "args/args/hf_checkpoint", ""), "/args/args/hf_checkpoint", "missing"}, {with(t, "args/args/rollout_batch_size", ""), "/args/args/rollout_batch_size", "missing"},
		{with(t, "args/args/hf_checkpoint", `""`), "/args/args/hf_checkpoint", "empty"}, {with(t, "args/args/hf_checkpoint", `7`), "/args/args/hf_checkpoint", "not a text"},
		{with(t, "args/args/rollout_batch_size", `0`), "/args/args/rollout_batch_size", "less than 1"}, {with(t, "args/args/rollout_batch_size", `1.5`), "/args/args/rollout_batch_size", "whole"},
		{with(t, "args/args/rollout_batch_size", `"32"`), "/args/args/rollout_batch_size", "not a number"}, {with(t, "args/args/rollout_batch_size", `[32]`), "/args/args/rollout_batch_size", "not a number"},
		{with(t, "args/args/n_samples_per_prompt", `0`), "/args/args/n_samples_per_prompt", "less than 1"}, {with(t, "args/args/rollout_num_gpus", `-1`), "/args/args/rollout_num_gpus", "less than 0"},
		{with(t, "args/args/rollout_temperature", `0`), "/args/args/rollout_temperature", "not more than 0"}, {with(t, "args/args/rollout_top_p", `1.01`), "/args/args/rollout_top_p", "more than 1"},
		{with(t, "args/args/rollout_top_p", `0`), "/args/args/rollout_top_p", "not more than 0"}, {with(t, "args/args/num_rollout", `9999999999`), "/args/args/num_rollout", "more than"}, {with(t, "args/args/num_rollout", `1e2`), "/args/args/num_rollout", "whole"},
		{with(t, "args/args/colocate", `1`), "/args/args/colocate", "not a boolean"}, {with(t, "args/args/colocate", `true`, "args/entrypoint", `"train_async.py"`), "/args/args/colocate", "cannot share"},
		{with(t, "args/args/x", `null`), "/args/args/x", "null"}, {with(t, "args/sglang/x", `[[1]]`), "/args/sglang/x/0", "neither"}, {with(t, "args/sglang/x", `[1,{}]`), "/args/sglang/x/1", "neither"},
		{with(t, "args/megatron/x", `[null]`), "/args/megatron/x/0", "neither"}, {with(t, "args/megatron/num-layers", `1`), "/args/megatron/num-layers", "name of an argument"},
		{with(t, "args/megatron/x", `"a\u0000"`), "/args/megatron/x", "NUL"}, {with(t, "args/megatron/", `1`), "/args/megatron/", "name of an argument"},
	} {
		_, bad := parsePayload([]byte(c.body), "the-callers-own-token")
		if bad == nil {
			t.Errorf("%.120q was accepted", c.body)
			continue
		}
		got := refusal(t, string(bad.body))
		if bad.status != 422 || got.Code != "invalid_payload" || len(got.Fields) != 1 || got.Fields[0].Path != c.path || !strings.Contains(got.Fields[0].Message, c.says) {
			t.Errorf("%.120q: %d %s, want %q at %s", c.body, bad.status, bad.body, c.says, c.path)
		}
	}
	// Everything that is wrong is said at once, and no more than is read.
	_, bad := parsePayload([]byte(with(t, "backend", `"slime"`, "args/entrypoint", `7`, "args/args/rollout_batch_size", `0`, "argv", `[1,2]`, "more", `1`)), "own-token")
	if got := refusal(t, string(bad.body)); len(got.Fields) != 5 {
		t.Errorf("%+v", got)
	}
	_, bad = parsePayload([]byte(with(t, "argv", "["+strings.Repeat("1,", 99)+"1]")), "own-token")
	if got := refusal(t, string(bad.body)); len(got.Fields) != maxFlaws {
		t.Errorf("%d fields", len(got.Fields))
	}
	for _, body := range []string{
		goodPayload, with(t, "backend", `"carl.camp/slime"`), with(t, "argv", `[]`),
		with(t, "backend", `"acme.dev/verl"`, "args", `{"any":[[{"thing":null}]]}`), with(t, "args/megatron", "", "args/sglang", "", "args/router", ""),
		with(t, "args/args/colocate", `true`), with(t, "args/args/colocate", `false`, "args/entrypoint", `"train_async.py"`),
		with(t, "args/args/env", `{"A":{"b":[null]}}`, "args/args/list", `[1,"a",true]`, "args/args/num_rollout", `0`, "args/args/rollout_top_p", `1`),
	} {
		if _, bad := parsePayload([]byte(body), "own-token"); bad != nil {
			t.Errorf("%s: %s", body, bad.body)
		}
	}
	for body, want := range map[string]int64{goodPayload: 12, with(t, "args/args/num_rollout", ""): 10, with(t, "args/args/num_rollout", "0"): 10, with(t, "backend", `"acme.dev/verl"`): 10} {
		if steps, bad := parsePayload([]byte(body), "own-token"); bad != nil || steps != want || stepsOf([]byte(body)) != want {
			t.Errorf("%s: %d steps, want %d", body, steps, want)
		}
	}
}

// letters is a run of letters and digits that makes a token of its head.
func letters(n int) string {
	return strings.Repeat("aB3dE6gH9j", n/10+1)[:n]
}

func TestPayloadsWithATokenAreRefused(t *testing.T) {
	p := start(t, Options{Tier: "paid"})
	secrets := []string{
		p.Token(), "hf_" + letters(34), "hf_" + letters(30), "api_org_" + letters(34), "hf_oauth_" + "eyJ" + letters(20) + ".x", "hf_oauth_" + letters(10) + "-_" + letters(10),
		"ghp_" + letters(36), "sk-" + letters(40), "eyJ" + letters(20) + ".eyJ" + letters(20) + "." + letters(40),
	}
	std, raw := base64.StdEncoding, base64.RawURLEncoding
	wraps := map[string]func(string) string{
		"as it is":         func(s string) string { return s },
		"in a URL":         func(s string) string { return "https://user:" + s + "@huggingface.co/org/model" },
		"in a query":       func(s string) string { return "https://h.co/x?token=" + s + "&y=1" },
		"percent":          func(s string) string { return "https://h.co/" + percent(s) },
		"percent twice":    func(s string) string { return "https://h.co/" + url.PathEscape(percent(s)) },
		"base64":           func(s string) string { return std.EncodeToString([]byte(s)) },
		"basic":            func(s string) string { return "Basic " + std.EncodeToString([]byte("user:"+s)) },
		"base64 of a URL":  func(s string) string { return "https://h.co/" + raw.EncodeToString([]byte("x"+s)) + "/y" },
		"percent, base64":  func(s string) string { return percent(std.EncodeToString([]byte("ab" + s))) },
		"base64, twice":    func(s string) string { return std.EncodeToString([]byte(std.EncodeToString([]byte(s)))) },
		"behind a segment": func(s string) string { return "/models/" + raw.EncodeToString([]byte(s)) },
	}
	escaped := func(s string) string {
		var out strings.Builder
		for _, r := range s {
			fmt.Fprintf(&out, "\\u%04x", r)
		}
		return `"` + out.String() + `"`
	}
	n := 0
	for _, secret := range secrets {
		for how, wrap := range wraps {
			text := wrap(secret)
			quoted, err := jsontext.AppendQuote(nil, text)
			if err != nil {
				t.Fatal(err)
			}
			q := string(quoted)
			for _, c := range []struct{ body, path string }{
				{with(t, "args/args/load", q), "/args/args/load"},
				{with(t, "argv", `["--load",`+q+`]`), "/argv/1"},
				{with(t, "args/sglang/x", `{"deep":[1,{"er":`+escaped(text)+`}]}`), "/args/sglang/x/deep/1/er"},
				{with(t, "args/router", `{`+q+`:1}`), "/args/router"},
				{with(t, "args/router", `{`+q+`:{"x":`+q+`}}`), "/args/router"},
				{with(t, "backend", `"acme.dev/verl"`, "args", `{"x":`+q+`}`), "/args/x"},
				{with(t, "backend", q), "/backend"},
				{`{"x":` + q + `,`, "/x"},
				{`[` + q + `]`, "/0"},
			} {
				status, answer := p.submit(t, fmt.Sprintf("key-%d", n), c.body)
				n++
				if status != 422 {
					t.Fatalf("%s %.12s at %s: %d %s", how, secret, c.path, status, answer)
				}
				got := refusal(t, answer)
				if status != 422 || got.Code != "holds_token" || got.Fields[0].Path != c.path || strings.Contains(answer, secret[4:]) || strings.Contains(answer, text) {
					t.Fatalf("%s %.12s at %s: %d %s", how, secret, c.path, status, answer)
				}
			}
		}
	}
	for _, name := range []string{"hf_token", "HF_TOKEN", "hf-token", "huggingface_token", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN", "wandb_key", "sglang_api_key", "router_oracle_password"} {
		for _, body := range []string{with(t, "args/args/"+name, `"x"`), with(t, "args/args/env_vars", `{"`+name+`":""}`), with(t, "argv", `["--`+name+`","x"]`), with(t, "argv", `["--`+name+`=x"]`)} {
			if _, bad := parsePayload([]byte(body), "own-token"); bad == nil || !strings.Contains(string(bad.body), "named like a credential") {
				t.Errorf("%s was accepted", body)
			}
		}
	}
	for _, text := range []string{
		"hf_checkpoint", "hf_" + letters(29), "hf_checkpoint_to_" + letters(40), "/root/hf_checkpoint_to_megatron/Qwen3-235B-A22B-Instruct-2507", "api_org_chart", letters(200), "task-hf_model",
		"prefix" + "hf_" + letters(34), std.EncodeToString([]byte(letters(90))), "%zz%4", "eyJ", "token", "--hf-checkpoint", "--eval-input-key",
	} {
		if _, bad := parsePayload([]byte(with(t, "args/args/load", `"`+text+`"`, "argv", `["`+text+`"]`)), "own-token"); bad != nil {
			t.Errorf("%q: %s", text, bad.body)
		}
	}
	if s := p.Summary(); s.Runs != 0 {
		t.Errorf("%+v", s)
	}
}

// percent encodes every character of s.
func percent(s string) string {
	var out strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&out, "%%%02x", s[i])
	}
	return out.String()
}

func TestRunsByTheClockAndByHand(t *testing.T) {
	h := newHand()
	p := start(t, Options{Tier: "paid", Clock: h.clock})
	change := func(path string) runDoc {
		t.Helper()
		resp, text := p.do(t, "POST", "/dev/runs/"+path, "", "")
		var doc runDoc
		if err := json.Unmarshal([]byte(text), &doc); resp.StatusCode != 200 || err != nil {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, text)
		}
		return doc
	}
	change("speed/1m")
	id := p.begin(t, "a")
	h.pass(35 * time.Second)
	if got := change(id + "/hold"); got.Status != "running" || *got.Step != 6 {
		t.Errorf("%+v", got)
	}
	h.pass(time.Hour)
	if got := p.status(t, id); got.Status != "running" || *got.Step != 6 || *got.Progress != 0.5 {
		t.Errorf("held: %+v", got)
	}
	if got := change(id + "/release"); *got.Step != 6 {
		t.Errorf("released: %+v", got)
	}
	h.pass(13 * time.Second)
	if got := p.status(t, id); *got.Step != 9 {
		t.Errorf("and on: %+v", got)
	}
	if got := change(id + "/fail?error=out+of+memory"); got.Status != "failed" || got.Error != "out of memory" || *got.Step != 9 {
		t.Errorf("%+v", got)
	}
	if got := change(id + "/fail"); got.Error != defaultWhy {
		t.Errorf("%+v", got)
	}
	if got := change(id + "/state/warming-up"); got.Status != "warming-up" || got.Error != "" {
		t.Errorf("%+v", got)
	}
	if got := change(id + "/state/hold?error=x"); got.Status != "hold" || got.Error != "x" {
		t.Errorf("%+v", got)
	}
	if got := change(id + "/cancel"); got.Status != "cancelled" || got.Error != "" {
		t.Errorf("%+v", got)
	}
	if got := change(id + "/succeed"); got.Status != "succeeded" || *got.Progress != 1 || *got.Step != 12 {
		t.Errorf("%+v", got)
	}
	if got := change(id + "/release"); got.Status != "running" || *got.Step != 9 {
		t.Errorf("%+v", got)
	}
	h.pass(time.Minute)
	if got := p.status(t, id); got.Status != "succeeded" {
		t.Errorf("%+v", got)
	}
	// A clock that goes back ends nothing.
	h.pass(-24 * time.Hour)
	if got := p.status(t, id); got.Status != "queued" {
		t.Errorf("%+v", got)
	}
	h.pass(24 * time.Hour)
	if resp, text := p.do(t, "POST", "/dev/runs/speed/0s", "", ""); text != `{"takes":"0s"}`+"\n" {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if got := p.status(t, p.begin(t, "b")); got.Status != "succeeded" || *got.Progress != 1 {
		t.Errorf("%+v", got)
	}
	for path, status := range map[string]int{
		id + "/explode": 422, id + "/state/Big": 422, id + "/state/" + strings.Repeat("s", 65): 422, id + "/succeed?error=x": 422, id + "/hold?x=1": 422,
		id + "/fail?error=a%0Ab": 422, id + "/fail?error=" + strings.Repeat("x", 301): 422, newUUID() + "/hold": 404, newUUID() + "/state/x": 404,
		"speed/soon": 422, "speed/-1s": 422, "speed/999999h": 422, id: 404, id + "/state/x/y": 404, "/hold": 404,
	} {
		if resp, text := p.do(t, "POST", "/dev/runs/"+path, "", ""); resp.StatusCode != status {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	for name, err := range map[string]error{
		"hold": p.HoldRun(newUUID()), "release": p.ReleaseRun("x"), "state": p.SetRunState(id, "Big", ""), "error": p.SetRunState(id, "failed", "a\nb"), "time": p.SetRunTime(-1),
	} {
		if fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := errors.Join(p.SetRunTime(time.Minute), p.SetRunState(id, "failed", "so"), p.ReleaseRun(id), p.HoldRun(id)); err != nil {
		t.Error(err)
	}
	var doc struct {
		Runs []Run `json:"runs"`
	}
	if _, text := p.do(t, "GET", "/dev/runs", "", ""); json.Unmarshal([]byte(text), &doc, json.RejectUnknownMembers(true)) != nil || !slices.Equal(doc.Runs, p.Runs()) || len(doc.Runs) != 2 || doc.Runs[0].RunID != id || !doc.Runs[0].Held || doc.Runs[0].Takes != "1m0s" || doc.Runs[1].Key != "b" {
		t.Errorf("%s", text)
	}
	if resp, text := p.do(t, "GET", "/dev/runs/"+id+"/payload", "", ""); text != goodPayload || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s", text)
	}
	for _, path := range []string{"/dev/runs/" + newUUID() + "/payload", "/dev/runs/x", "/dev/resonants/x", "/dev/resonants"} {
		if resp, _ := p.do(t, "GET", path, "", ""); resp.StatusCode != 404 && resp.StatusCode != 405 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

func TestTheListAndItsEnd(t *testing.T) {
	p := start(t, Options{Tier: "paid"})
	c := p.client(t)
	if runs, err := c.Runs(t.Context()); err != nil || len(runs) != 0 {
		t.Errorf("%v, %v", runs, err)
	}
	p.runs.runs = maxRunPage + 3
	var ids []string
	for i := range maxRunPage + 3 {
		ids = append(ids, p.begin(t, fmt.Sprint(i)))
	}
	// As long as it can be.
	for _, id := range ids {
		if err := p.SetRunState(id, strings.Repeat("s", maxState), strings.Repeat("\"", maxWhy)); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := c.Runs(t.Context())
	if err != nil || len(runs) != maxRunPage {
		t.Fatalf("%d, %v", len(runs), err)
	}
	for i, run := range runs {
		if run.ID != ids[len(ids)-1-i] {
			t.Fatalf("run %d is %s", i, run.ID)
		}
	}
	if status, text := p.submit(t, "one-more", goodPayload); status != 403 || refusal(t, text).Code != "too_many_runs" {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := p.submit(t, "0", goodPayload); status != 200 {
		t.Errorf("a known one: %d", status)
	}
}

func TestFaultsAndRuns(t *testing.T) {
	for _, name := range []string{"402", "422", "429", "500", "503", "reset", "lost", "slow", "lie"} {
		p := start(t, Options{Tier: "paid", Faults: mustFaults(t, name+":1"), Slow: time.Millisecond, RetryAfter: 2 * time.Second, DataDir: filepath.Join(t.TempDir(), "data")})
		c := p.client(t)
		_, _, err := c.SubmitRun(t.Context(), []byte(goodPayload), "k")
		_, perr := c.PublishResonant(t.Context(), bytes.NewReader(make([]byte, 1<<20)), 1<<20, "", "r", nil)
		runs, resonants := p.runs.count()
		done := name == "lost" || name == "slow" || name == "lie"
		if (runs == 1) != done || (resonants == 1) != done {
			t.Errorf("%s: %d runs, %d resonants", name, runs, resonants)
		}
		for _, err := range []error{err, perr} {
			var e *camp.CallError
			if name == "slow" {
				if err != nil {
					t.Errorf("slow: %v", err)
				}
				continue
			}
			if !errors.As(err, &e) || e.Definite && done || (name == "429" || name == "503") != (e.RetryAfter == 2*time.Second) {
				t.Errorf("%s: %v, %+v", name, err, e)
			}
		}
		p.SetFaults(Faults{})
		run, created, err := c.SubmitRun(t.Context(), []byte(goodPayload), "k")
		if err != nil || created == done {
			t.Errorf("%s: then %+v, %v, %v", name, run, created, err)
		}
		id, err := c.PublishResonant(t.Context(), bytes.NewReader(make([]byte, 1<<20)), 1<<20, "", "r", nil)
		if err != nil {
			t.Errorf("%s: then %v", name, err)
		}
		if runs, resonants := p.runs.count(); runs != 1 || resonants != 1 {
			t.Errorf("%s: then %d runs, %d resonants", name, runs, resonants)
		}
		if files, err := os.ReadDir(p.runs.dir); err != nil || len(files) != 1 || files[0].Name() != id {
			t.Errorf("%s: the files are %v, %v", name, files, err)
		}
		p.Close()
	}
}

// TestRunLies has the client meet every lie: it believes none.
func TestRunLies(t *testing.T) {
	kinds := map[string]bool{}
	for seed := uint64(1); seed < 60; seed++ {
		p := start(t, Options{Tier: "paid", Seed: seed})
		c := p.client(t)
		run, _, err := c.SubmitRun(t.Context(), []byte(goodPayload), "k")
		if err != nil {
			t.Fatal(err)
		}
		p.SetFaults(mustFaults(t, "lie:1"))
		for _, call := range []func() error{
			func() error { _, _, err := c.SubmitRun(t.Context(), []byte(goodPayload), "l"); return err },
			func() error { _, err := c.Run(t.Context(), run.ID); return err },
			func() error { _, err := c.Runs(t.Context()); return err },
			func() error {
				_, err := c.PublishResonant(t.Context(), strings.NewReader("x"), 1, run.ID, "", nil)
				return err
			},
		} {
			var e *camp.CallError
			if err := call(); !errors.As(err, &e) || e.Failure != camp.FailMalformed || e.Definite {
				t.Fatalf("seed %d: %v", seed, err)
			}
			kinds[e.Error()[strings.Index(e.Error(), "answered"):]] = true
		}
		p.Close()
	}
	if len(kinds) < 12 {
		t.Errorf("only %d kinds of lies: %v", len(kinds), kinds)
	}
}

// publish sends bytes as a resonant, and returns status, id and answer.
func (p *platform) publish(t testing.TB, body string, change ...func(*http.Request)) (int, string, string) {
	t.Helper()
	resp, text := p.do(t, "POST", resonantsPath, "application/octet-stream", body, change...)
	var doc resonantDoc
	json.Unmarshal([]byte(text), &doc)
	return resp.StatusCode, doc.ResonantID, text
}

func field(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

func TestResonants(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, Options{Tier: "paid", DataDir: dir})
	p.maxResonant = 1 << 20
	run := p.begin(t, "a")
	for name, c := range map[string]struct {
		body   string
		change []func(*http.Request)
		status int
		code   string
	}{
		"another type":      {"x", []func(*http.Request){func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }}, 415, "unsupported_media_type"},
		"encoded":           {"x", []func(*http.Request){field("Content-Encoding", "gzip")}, 415, "unsupported_encoding"},
		"nothing":           {"", nil, 422, "empty"},
		"no length":         {"x", []func(*http.Request){func(r *http.Request) { r.ContentLength = -1 }}, 411, "length_required"},
		"too large":         {strings.Repeat("x", 1<<20+1), nil, 413, "too_large"},
		"no UUID":           {"x", []func(*http.Request){field(runIDField, "1")}, 422, "invalid_run_id"},
		"upper case":        {"x", []func(*http.Request){field(runIDField, strings.ToUpper(run))}, 422, "invalid_run_id"},
		"two runs":          {"x", []func(*http.Request){field(runIDField, run), field(runIDField, run)}, 422, "invalid_run_id"},
		"no such run":       {"x", []func(*http.Request){field(runIDField, newUUID())}, 404, "not_found"},
		"an empty key":      {"x", []func(*http.Request){field("Idempotency-Key", "")}, 422, "invalid_idempotency_key"},
		"a key too long":    {"x", []func(*http.Request){field("Idempotency-Key", strings.Repeat("k", 129))}, 422, "invalid_idempotency_key"},
		"two keys":          {"x", []func(*http.Request){field("Idempotency-Key", "a"), field("Idempotency-Key", "a")}, 422, "invalid_idempotency_key"},
		"without the token": {"x", []func(*http.Request){func(r *http.Request) { r.Header.Del("Authorization") }}, 401, "unauthorized"},
	} {
		if status, _, text := p.publish(t, c.body, c.change...); status != c.status || refusal(t, text).Code != c.code {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if _, resonants := p.runs.count(); resonants != 0 {
		t.Errorf("%d are held", resonants)
	}
	status, id, text := p.publish(t, "weights", field(runIDField, run), field("Idempotency-Key", "k"))
	if status != 201 || !isUUID(id) {
		t.Fatalf("%d %s", status, text)
	}
	if status, again, _ := p.publish(t, "weights", field(runIDField, run), field("Idempotency-Key", "k")); status != 200 || again != id {
		t.Errorf("again: %d %s", status, again)
	}
	for name, c := range map[string]struct {
		body   string
		fields []func(*http.Request)
	}{
		"other bytes": {"weight5", []func(*http.Request){field(runIDField, run), field("Idempotency-Key", "k")}},
		"another run": {"weights", []func(*http.Request){field("Idempotency-Key", "k")}},
	} {
		if status, _, text := p.publish(t, c.body, c.fields...); status != 409 || refusal(t, text).Code != "idempotency_conflict" {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if got := p.status(t, run); got.ResonantID != id {
		t.Errorf("%+v", got)
	}
	_, second, _ := p.publish(t, "weights", field(runIDField, run))
	_, loose, _ := p.publish(t, strings.Repeat("x", 1<<20))
	if got := p.status(t, run); second == id || got.ResonantID != second {
		t.Errorf("%+v, want %s", got, second)
	}
	sum := sha256.Sum256([]byte("weights"))
	var doc Resonant
	if _, text := p.do(t, "GET", "/dev/resonants/"+id, "", ""); json.Unmarshal([]byte(text), &doc, json.RejectUnknownMembers(true)) != nil ||
		doc.ResonantID != id || doc.RunID != run || doc.SHA256 != hex.EncodeToString(sum[:]) || doc.Size != 7 || doc.Received == "" {
		t.Errorf("%s", text)
	}
	if doc, ok := p.Resonant(loose); !ok || doc.RunID != "" || doc.Size != 1<<20 {
		t.Errorf("%+v", doc)
	}
	if body, err := os.ReadFile(filepath.Join(dir, "resonants", id)); err != nil || string(body) != "weights" {
		t.Errorf("%s, %v", body, err)
	}
	// One that ends before it should.
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, "weig")
		w.CloseWithError(errors.New("gone"))
	}()
	if _, _, err := p.try("POST", resonantsPath, "application/octet-stream", "", func(req *http.Request) {
		req.Body, req.ContentLength = r, 7
	}); err == nil {
		t.Error("half a resonant was answered")
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		files, err := os.ReadDir(filepath.Join(dir, "resonants"))
		if err == nil && len(files) == 3 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%v, %v", files, err)
		}
	}
	p.runs.resonants = 3
	if status, _, text := p.publish(t, "one more"); status != 403 || refusal(t, text).Code != "too_many_resonants" {
		t.Errorf("%d %s", status, text)
	}
	if status, again, _ := p.publish(t, "weights", field(runIDField, run), field("Idempotency-Key", "k")); status != 200 || again != id {
		t.Errorf("a known one: %d %s", status, again)
	}
	p.Close()
	files, err := os.ReadDir(filepath.Join(dir, "resonants"))
	if err != nil || len(files) != 3 {
		t.Errorf("%v, %v", files, err)
	}
}

// TestLongResonantsAreRefusedEarly has the client send what is refused before
// it is all there.
func TestLongResonantsAreRefusedEarly(t *testing.T) {
	p := start(t, Options{Tier: "paid", DataDir: filepath.Join(t.TempDir(), "data")})
	p.maxResonant = 1 << 30
	run := p.begin(t, "a")
	c := p.client(t)
	publish := func(want camp.Failure, size int64, runID string) {
		t.Helper()
		for range 5 {
			var e *camp.CallError
			var sent int64
			_, err := c.PublishResonant(t.Context(), endlessBody{}, size, runID, "", func(n int64) { sent = n })
			if !errors.As(err, &e) || e.Failure != want || !e.Definite || sent > maxDrain+16<<20 {
				t.Errorf("%v after %d bytes", err, sent)
			}
		}
	}
	publish(camp.FailTooLarge, 1<<30+1, run)
	publish(camp.FailNotFound, 1<<30, newUUID())
	p.SetFaults(mustFaults(t, "429:1"))
	publish(camp.FailThrottled, 1<<30, run)
	p.SetFaults(Faults{})
	p.token = "another-token"
	publish(camp.FailUnauthorized, 1<<30, run)
}

type endlessBody struct{}

func (endlessBody) Read(p []byte) (int, error) { return len(p), nil }

// TestRunsOutlastARestart holds what was answered against what a new process
// knows, after an end in the middle of everything.
func TestRunsOutlastARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	h := newHand()
	p := start(t, Options{Tier: "paid", DataDir: dir, Clock: h.clock})
	if err := p.SetRunTime(time.Minute); err != nil {
		t.Fatal(err)
	}
	a, b, c := p.begin(t, "a"), p.begin(t, "b"), p.begin(t, `c,"payload":{`)
	spaced := strings.ReplaceAll(strings.ReplaceAll(with(t, "args/args/load", `"a\u000a\u0000b"`, "backend", `"acme.dev/verl"`), ":", " :\r\n"), ",", "\n,")
	status, text := p.submit(t, "d", "\n"+spaced+"\n")
	if status != 201 {
		t.Fatalf("%d %s", status, text)
	}
	h.pass(30 * time.Second)
	if err := errors.Join(p.HoldRun(b), p.SetRunState(c, "failed", `out of "memory"`)); err != nil {
		t.Fatal(err)
	}
	_, res, _ := p.publish(t, "weights", field(runIDField, a), field("Idempotency-Key", "k"))
	before, list := p.Runs(), p.runs.list(100, h.clock())
	p.Close()
	for name, torn := range map[string]string{"": "", "a torn line": `{"set":{"run_id":"`} {
		file, err := os.OpenFile(filepath.Join(dir, "runs.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(torn); err != nil {
			t.Fatal(err)
		}
		file.Close()
		for _, name := range []string{arriving + "0123", newUUID()} {
			if err := os.WriteFile(filepath.Join(dir, "resonants", name), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p := start(t, Options{DataDir: dir, Clock: h.clock})
		if got := p.Runs(); !slices.Equal(got, before) {
			t.Errorf("%s: %+v became %+v", name, before, got)
		}
		was, _ := json.Marshal(list)
		if is, _ := json.Marshal(p.runs.list(100, h.clock())); !bytes.Equal(was, is) {
			t.Errorf("%s: %s became %s", name, was, is)
		}
		if r, ok := p.Resonant(res); !ok || r.RunID != a || r.Size != 7 {
			t.Errorf("%s: %+v", name, r)
		}
		if files, err := os.ReadDir(filepath.Join(dir, "resonants")); err != nil || len(files) != 1 || files[0].Name() != res {
			t.Errorf("%s: %v, %v", name, files, err)
		}
		for key, id := range map[string]string{"a": a, "b": b, `c,"payload":{`: c} {
			if status, text := p.submit(t, key, goodPayload); status != 200 || !strings.Contains(text, id) {
				t.Errorf("%s: %s: %d %s", name, key, status, text)
			}
			if body, ok := p.Payload(id); !ok || string(body) != goodPayload {
				t.Errorf("%s: %s", name, body)
			}
		}
		if status, _ := p.submit(t, "d", spaced); status != 200 {
			t.Errorf("%s: d: %d", name, status)
		}
		oneLine := strings.Map(func(r rune) rune {
			if r == '\n' || r == '\r' {
				return ' '
			}
			return r
		}, spaced)
		if body, _ := p.Payload(before[3].RunID); string(body) != oneLine {
			t.Errorf("%s: %q", name, body)
		}
		if status, _ := p.submit(t, "a", spaced); status != 409 {
			t.Errorf("%s: another body: %d", name, status)
		}
		if status, again, _ := p.publish(t, "weights", field(runIDField, a), field("Idempotency-Key", "k")); status != 200 || again != res {
			t.Errorf("%s: %d %s", name, status, again)
		}
		p.Close()
	}
	good := readFile(t, filepath.Join(dir, "runs.jsonl"))
	lines := bytes.SplitAfter(good, []byte("\n"))
	for name, bad := range map[string][]byte{
		"an empty line":    append([]byte("\n"), good...),
		"no JSON":          append([]byte("x\n"), good...),
		"a run twice":      append(bytes.Clone(lines[0]), good...),
		"a lost run":       bytes.Join(lines[1:], nil),
		"a resonant twice": append(bytes.Clone(good), lines[len(lines)-2]...),
		"another state":    bytes.Replace(good, []byte(`"state":"failed"`), []byte(`"state":"Failed"`), 1),
		"another change":   bytes.Replace(good, []byte(`"do":"hold"`), []byte(`"do":"melt"`), 1),
		"another spelling": bytes.Replace(good, []byte(`{"set"`), []byte(`{ "set"`), 1),
		"a member more":    bytes.Replace(good, []byte(`"do":"hold"`), []byte(`"do":"hold","x":1`), 1),
		"another time":     bytes.Replace(good, []byte(`Z","takes"`), []byte(`","takes"`), 1),
	} {
		if bytes.Equal(bad, good) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if err := os.WriteFile(filepath.Join(dir, "runs.jsonl"), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := New(Options{DataDir: dir}); fault.CodeOf(err) != fault.IO || !strings.Contains(err.Error(), "runs.jsonl is damaged") {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if !bytes.Equal(readFile(t, filepath.Join(dir, "runs.jsonl")), bad) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestRunsAndADiskThatFails(t *testing.T) {
	p := start(t, Options{Tier: "paid", DataDir: filepath.Join(t.TempDir(), "data")})
	run := p.begin(t, "a")
	p.runs.lines.sync = func(*os.File) error { return errors.New("the disk is gone") }
	if status, text := p.submit(t, "b", goodPayload); status != 500 || refusal(t, text).Code != "storage" {
		t.Errorf("%d %s", status, text)
	}
	if status, _, text := p.publish(t, "weights"); status != 500 || refusal(t, text).Code != "storage" {
		t.Errorf("%d %s", status, text)
	}
	if err := p.HoldRun(run); fault.CodeOf(err) != fault.IO {
		t.Errorf("%v", err)
	}
	if resp, _ := p.do(t, "POST", "/dev/runs/"+run+"/hold", "", ""); resp.StatusCode != 500 {
		t.Errorf("%d", resp.StatusCode)
	}
	if runs := p.Runs(); len(runs) != 1 || runs[0].Held {
		t.Errorf("%+v", runs)
	}
	p.Close()
	if err := p.HoldRun(run); err == nil {
		t.Error("a stand-in that is closed was changed")
	}
}

func FuzzParsePayload(f *testing.F) {
	seeds := []string{goodPayload, `{}`, `{"args":{"args":{"a":[1,{"b":null}]}},"backend":"slime"}`, `{"a":"%68%66_"}`, `{"a":"aGZf"}`, "[", `{"a":1,"a":2}`, `{"backend":"x/y","args":{},"argv":["a"],"config_digest":"` + idOf("x") + `"}`}
	if len(seeds) == 0 {
		f.Fatal("the seed corpus is empty")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	const own = "camp_own_bearer_of_the_fuzzer"
	f.Add([]byte(`{"a":"` + own + `"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		steps, bad := parsePayload(body, own)
		if bad != nil {
			got := refusal(t, string(bad.body))
			if bad.status != 422 || len(got.Fields) == 0 || len(got.Fields) > maxFlaws || strings.Contains(string(bad.body), own) {
				t.Fatalf("%q: %d %s", body, bad.status, bad.body)
			}
			for _, field := range got.Fields {
				if field.Message == "" || field.Path != "" && field.Path[0] != '/' {
					t.Fatalf("%q: %+v", body, field)
				}
			}
			return
		}
		var doc struct {
			Args         map[string]any `json:"args"`
			Argv         []string       `json:"argv"`
			Backend      string         `json:"backend"`
			ConfigDigest string         `json:"config_digest"`
		}
		if err := json.Unmarshal(body, &doc, json.RejectUnknownMembers(true)); err != nil || doc.Args == nil || steps < 1 || steps > maxSteps || bytes.Contains(body, []byte(own)) {
			t.Fatalf("%q was accepted: %v, %d steps", body, err, steps)
		}
		if again, bad := parsePayload(oneLine(body), own); bad != nil || again != steps || sumOf(oneLine(body)) != sumOf(body) {
			t.Fatalf("%q is another one on one line", body)
		}
	})
}

// FuzzRunFile holds that whatever the file holds, a store is either refused,
// and it stays as it is, or opened, and opens again with the same.
func FuzzRunFile(f *testing.F) {
	dir := f.TempDir()
	s, err := openRunStore(dir)
	if err != nil {
		f.Fatal(err)
	}
	at := time.Unix(1e9, 0)
	run, _, err := s.begin("k", []byte(goodPayload), 12, at)
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range []runChange{{RunID: run.RunID, Do: doHold}, {RunID: run.RunID, Do: doRelease}, {RunID: run.RunID, Do: doState, State: "failed", Error: "x"}} {
		if _, _, err := s.change(c, at); err != nil {
			f.Fatal(err)
		}
	}
	a := &arrived{heldResonant: heldResonant{RunID: run.RunID, Key: "r", Received: at.UTC().Format(time.RFC3339Nano), SHA256: idOf("x"), Size: 1}}
	if _, _, err := s.keep(a); err != nil {
		f.Fatal(err)
	}
	if err := s.close(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "runs.jsonl"))
	if err != nil || len(whole) == 0 {
		f.Fatal("the seed corpus is empty")
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-5])
	f.Add([]byte("{}\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		file := filepath.Join(dir, "runs.jsonl")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openRunStore(dir)
		if err != nil {
			if !bytes.Equal(readFile(t, file), text) {
				t.Fatal("what was refused was changed")
			}
			return
		}
		first := fmt.Sprint(s.list(maxRuns, at))
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		left := readFile(t, file)
		if !bytes.HasPrefix(text, left) || bytes.ContainsRune(text[len(left):], '\n') {
			t.Fatalf("of %q there is %q", text, left)
		}
		if s, err = openRunStore(dir); err != nil {
			t.Fatal(err)
		}
		defer s.close()
		if again := fmt.Sprint(s.list(maxRuns, at)); len(again) != len(first) {
			t.Fatalf("%s became %s", first, again)
		}
	})
}

// TestRunsUnderFaults has many clients try again until they are answered: of
// each key there is one run, and everybody got that one.
func TestRunsUnderFaults(t *testing.T) {
	p := start(t, Options{Tier: "paid", Seed: 7, DataDir: filepath.Join(t.TempDir(), "data"), Faults: mustFaults(t, "429:0.1,500:0.1,503:0.1,reset:0.1,lost:0.2,lie:0.1")})
	c := p.client(t)
	const keys = 5
	got := make([]string, 8*keys)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			for range 200 {
				run, _, err := c.SubmitRun(context.Background(), []byte(goodPayload), fmt.Sprint("key-", i%keys))
				if err == nil {
					got[i] = run.ID
					return
				}
			}
			t.Error("never answered")
		})
	}
	wg.Wait()
	held := map[string]bool{}
	for _, r := range p.Runs() {
		held[r.RunID] = true
	}
	for i, id := range got {
		if !held[id] || id != got[i%keys] {
			t.Errorf("%d got %s, the first of its key %s", i, id, got[i%keys])
		}
	}
	if s := p.Summary(); len(held) != keys || s.Runs != keys || len(s.Faults) != 6 {
		t.Errorf("%+v", s)
	}
}

func TestPatternsOfRoutes(t *testing.T) {
	for _, c := range []struct {
		pattern, path, rest string
		ok                  bool
	}{
		{"/a", "/a", "", true}, {"/a", "/a/", "", false}, {"/a", "/b", "", false}, {"/a/*", "/a/b", "b", true}, {"/a/*", "/a/", "", false}, {"/a/*", "/a", "", false},
		{"/a/*", "/a/b/c", "", false}, {"/a/*/c", "/a/b/c", "b", true}, {"/a/*/c", "/a/b/d", "", false}, {"/a/*/c", "/a//c", "", false}, {"/a/*/*", "/a/b/c", "b/c", true},
		{"/a/*/*", "/a/b/", "", false}, {"/a/*/*", "/a/b", "", false}, {"/a/*/x/*", "/a/b/x/c", "b/c", true}, {"/a/*/x/*", "/a/b/y/c", "", false}, {"/a/*/x/*", "/a/x/x", "", false},
	} {
		rest, ok := (&route{path: c.pattern}).match(c.path)
		if ok != c.ok || ok && rest != c.rest {
			t.Errorf("%s of %s: %q, %v", c.path, c.pattern, rest, ok)
		}
	}
}
