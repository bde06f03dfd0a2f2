package standin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/fault"
)

const signalsPath = "/api/axon/signals"

// platform is a stand-in that is listening, and its address.
type platform struct {
	*Server
	url string
}

func start(t testing.TB, o Options) *platform {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	url, err := s.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &platform{s, url}
}

func idOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// signal is a proper event, with data as its data.
func signal(id, data string) string {
	return `{"specversion":"1.0","id":"` + id + `","source":"urn:carl:4be0643f","type":"interaction.created","subject":"reply",` +
		`"time":"2025-10-09T08:53:21.5Z","datacontenttype":"application/json","session":"1c9b","data":` + data + `}`
}

func batch(events ...string) string { return "[" + strings.Join(events, ",") + "]" }

// do makes a request with the token and returns status and body.
func (p *platform) do(t testing.TB, method, path, contentType, body string, change ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	resp, text, err := p.try(method, path, contentType, body, change...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp, text
}

func (p *platform) try(method, path, contentType, body string, change ...func(*http.Request)) (*http.Response, string, error) {
	req, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Authorization", "Bearer "+p.Token())
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for _, f := range change {
		f(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// post sends a batch and returns the verdicts.
func (p *platform) post(t testing.TB, body string) []result {
	t.Helper()
	resp, text := p.do(t, "POST", signalsPath, batchType, body)
	if resp.StatusCode != 200 {
		t.Fatalf("answered %d %s", resp.StatusCode, text)
	}
	var doc results
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return doc.Results
}

func statuses(list []result) string {
	var out []string
	for _, r := range list {
		out = append(out, r.Status)
	}
	return strings.Join(out, " ")
}

func TestSignalsAreKept(t *testing.T) {
	p := start(t, Options{})
	a, b := signal(idOf("a"), `{"tokens":12}`), signal(idOf("b"), `{}`)
	got := p.post(t, batch(a, b))
	if statuses(got) != "accepted accepted" || got[0].ID != idOf("a") || got[1].ID != idOf("b") || got[0].Reason != "" {
		t.Errorf("got %+v", got)
	}
	if got := p.post(t, " [\n"+a+"\n,"+b+"]\n"); statuses(got) != "duplicate duplicate" {
		t.Errorf("sent again: %+v", got)
	}
	if got := p.post(t, "[]"); len(got) != 0 {
		t.Errorf("an empty batch: %+v", got)
	}
	if ids := p.IDs(); len(ids) != 2 || ids[0] != idOf("a") || ids[1] != idOf("b") {
		t.Errorf("held: %v", ids)
	}
	if body, ok := p.Event(idOf("a")); !ok || string(body) != a {
		t.Errorf("held: %s", body)
	}
	if _, ok := p.Event(idOf("c")); ok {
		t.Error("holds what was never sent")
	}
	s := p.Summary()
	if s.Signals != 2 || s.Types["interaction.created"] != 2 || s.Duplicates != 2 || s.Rejected != 0 || s.Conflicts != 0 || s.Requests != 3 || s.Tier != "free" {
		t.Errorf("summary %+v", s)
	}
}

func TestSecondBodyUnderAKnownID(t *testing.T) {
	p := start(t, Options{})
	first, second := signal(idOf("a"), `{"n":1}`), signal(idOf("a"), `{"n":2}`)
	// Within one batch, and again in a later one.
	for i, got := range [][]result{p.post(t, batch(first, second, first))[1:], p.post(t, batch(second))} {
		if got[0].Status != "rejected" || !strings.HasPrefix(got[0].Reason, "conflict") {
			t.Errorf("%d: got %+v", i, got)
		}
		if sum := sha256.Sum256([]byte(first)); got[0].Have != hex.EncodeToString(sum[:]) {
			t.Errorf("%d: the evidence is %q", i, got[0].Have)
		}
	}
	if body, _ := p.Event(idOf("a")); string(body) != first {
		t.Errorf("the first body was replaced by %s", body)
	}
	if s := p.Summary(); s.Conflicts != 2 || s.Signals != 1 || s.Duplicates != 1 {
		t.Errorf("summary %+v", s)
	}
	if c := p.Conflicts(); len(c) != 2 || c[0].ID != idOf("a") || c[0].Held == c[0].Came || c[0].Held == "" {
		t.Errorf("conflicts %+v", c)
	}
}

func TestEventsThatAreRefused(t *testing.T) {
	p := start(t, Options{})
	good := signal(idOf("x"), `{}`)
	for name, event := range map[string]string{
		"no version":           strings.Replace(good, `"specversion":"1.0",`, ``, 1),
		"another version":      strings.Replace(good, `"1.0"`, `"0.3"`, 1),
		"no source":            strings.Replace(good, `"source":"urn:carl:4be0643f",`, ``, 1),
		"foreign source":       strings.Replace(good, `urn:carl:4be0643f`, `https://evil`, 1),
		"empty source":         strings.Replace(good, `urn:carl:4be0643f`, `urn:carl:`, 1),
		"no type":              strings.Replace(good, `"type":"interaction.created",`, ``, 1),
		"unknown type":         strings.Replace(good, `interaction.created`, `interaction.deleted`, 1),
		"type in capitals":     strings.Replace(good, `interaction.created`, `Interaction.Created`, 1),
		"type of another kind": strings.Replace(good, `"interaction.created"`, `7`, 1),
		"no time":              strings.Replace(good, `"time":"2025-10-09T08:53:21.5Z",`, ``, 1),
		"bad time":             strings.Replace(good, `2025-10-09T08:53:21.5Z`, `yesterday`, 1),
		"time with comma":      strings.Replace(good, `21.5Z`, `21,5Z`, 1),
		"impossible time":      strings.Replace(good, `2025-10-09`, `2025-13-09`, 1),
		"no content type":      strings.Replace(good, `"datacontenttype":"application/json",`, ``, 1),
		"other content type":   strings.Replace(good, `"application/json"`, `"text/xml"`, 1),
		"no data":              strings.Replace(good, `,"data":{}`, ``, 1),
		"empty subject":        strings.Replace(good, `"reply"`, `""`, 1),
		"null subject":         strings.Replace(good, `"reply"`, `null`, 1),
		"null extension":       strings.Replace(good, `"session":"1c9b"`, `"session":null`, 1),
		"object extension":     strings.Replace(good, `"session":"1c9b"`, `"other":{}`, 1),
		"bad attribute name":   strings.Replace(good, `"session"`, `"Session_Id"`, 1),
		"base64 data":          strings.Replace(good, `"session":"1c9b"`, `"data_base64":"eA=="`, 1),
		"too large":            signal(idOf("x"), `"`+strings.Repeat("x", 64<<10)+`"`),
		"too deep":             signal(idOf("x"), strings.Repeat("[", 71)+strings.Repeat("]", 71)),
	} {
		got := p.post(t, batch(signal(idOf("before "+name), `{}`), event, signal(idOf("after "+name), `{}`)))
		if statuses(got) != "accepted rejected accepted" || got[1].Reason == "" || got[1].ID != idOf("x") {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if _, ok := p.Event(idOf("x")); ok {
		t.Error("a refused event is held")
	}
	for name, event := range map[string]string{
		"plain":               good,
		"number extension":    strings.Replace(strings.Replace(good, `"session":"1c9b"`, `"other":1`, 1), idOf("x"), idOf("y"), 1),
		"largest":             signal(idOf("largest"), `"`+strings.Repeat("x", 64<<10-len(signal(idOf("largest"), `""`)))+`"`),
		"data of other kinds": signal(idOf("kind"), `null`),
	} {
		if got := p.post(t, batch(event)); statuses(got) != "accepted" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestEventsThatHoldATokenAreRefused(t *testing.T) {
	p := start(t, Options{Token: "the-token-of-this-test"})
	jwt := "eyJhbGciOiJFZERTQSJ9xx.eyJzdWIiOiJhbGljZSJ9xxxx.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
	long := strings.Repeat("a1B2", 10)
	for _, token := range []string{
		"the-token-of-this-test", "hf_" + long, "api_org_" + long, "sk-" + long, "sk-ant-api03-" + long, "ghp_" + long, "github_pat_" + long, "glpat-" + long,
		"AIza" + long, "npm_" + long, "xoxb-" + long, jwt, "-----BEGIN OPENSSH PRIVATE KEY-----", "camp_dev_" + long,
	} {
		quoted, err := json.Marshal("see " + token + ".")
		if err != nil {
			t.Fatal(err)
		}
		escaped := `"` + strings.Repeat(" ", 3)
		for _, c := range token {
			escaped += fmt.Sprintf(`\u%04x`, c)
		}
		escaped += `"`
		for i, data := range []string{`{"a":[` + string(quoted) + `]}`, `{` + string(quoted) + `:1}`, escaped} {
			got := p.post(t, batch(signal(idOf(fmt.Sprint(token, i)), data)))
			if statuses(got) != "rejected" || !strings.Contains(got[0].Reason, "token") || strings.Contains(got[0].Reason, token) {
				t.Errorf("%q, %d: got %+v", token, i, got)
			}
		}
	}
	for _, text := range []string{"task-force-of-the-working-group-on-redaction-1", "hf_checkpoint_to_megatron", "[redacted:hf-token]", "eyJust a word", "AIza", "sk-learn-and-something-long-without-any-digits", "-----BEGIN CERTIFICATE-----"} {
		if got := p.post(t, batch(signal(idOf(text), `{"t":"`+text+`"}`))); statuses(got) != "accepted" {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

// refusal reads an error answer in the form of formats.md, and nothing else.
func refusal(t *testing.T, text string) problemBody {
	t.Helper()
	var doc problem
	if err := json.Unmarshal([]byte(text), &doc, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if doc.Error.Code == "" || doc.Error.Message == "" || doc.Error.Fields == nil {
		t.Fatalf("an error without code, message or fields: %s", text)
	}
	return doc.Error
}

func TestBatchesThatAreRefused(t *testing.T) {
	p := start(t, Options{})
	good := signal(idOf("a"), `{}`)
	for name, c := range map[string]struct {
		body   string
		status int
		path   string
	}{
		"nothing":             {"", 422, ""},
		"not JSON":            {"hello", 422, ""},
		"an object":           {good, 422, ""},
		"a text":              {`"[]"`, 422, ""},
		"not ended":           {"[" + good, 422, "/1"},
		"something after":     {batch(good) + "[]", 422, ""},
		"rubbish after":       {batch(good) + "x", 422, ""},
		"element no object":   {batch(good, `"x"`), 422, "/1"},
		"trailing comma":      {"[" + good + ",]", 422, "/1"},
		"doubled member":      {batch(good, strings.Replace(good, `{`, `{"id":"`+idOf("b")+`",`, 1)), 422, "/1"},
		"doubled inner":       {batch(signal(idOf("a"), `{"x":1,"x":2}`)), 422, "/0"},
		"invalid UTF-8":       {batch(signal(idOf("a"), "\"\xff\"")), 422, "/0"},
		"lone surrogate":      {batch(signal(idOf("a"), `"\ud800"`)), 422, "/0"},
		"NaN":                 {batch(signal(idOf("a"), `NaN`)), 422, "/0"},
		"no id":               {batch(good, strings.Replace(good, `"id":"`+idOf("a")+`",`, ``, 1)), 422, "/1/id"},
		"short id":            {batch(strings.Replace(good, idOf("a"), "abc", 1)), 422, "/0/id"},
		"id in capitals":      {batch(strings.Replace(good, idOf("a"), strings.ToUpper(idOf("a")), 1)), 422, "/0/id"},
		"id of another kind":  {batch(strings.Replace(good, `"`+idOf("a")+`"`, "7", 1)), 422, "/0/id"},
		"too many":            {"[" + strings.TrimSuffix(strings.Repeat(good+",", maxEvents+1), ",") + "]", 413, ""},
		"too large":           {"[" + strings.Repeat(" ", maxBody) + "]", 413, ""},
		"deeper than allowed": {strings.Repeat("[", 20000), 422, "/0"},
	} {
		resp, text := p.do(t, "POST", signalsPath, batchType, c.body)
		if resp.StatusCode != c.status {
			t.Errorf("%s: answered %d %.200s", name, resp.StatusCode, text)
			continue
		}
		e := refusal(t, text)
		if c.path != "" && (len(e.Fields) != 1 || e.Fields[0].Path != c.path || e.Fields[0].Message == "") {
			t.Errorf("%s: %+v, want the field %s", name, e, c.path)
		}
	}
	if ids := p.IDs(); len(ids) != 0 {
		t.Errorf("refused batches left %v", ids)
	}
}

func TestEveryCallNeedsTheToken(t *testing.T) {
	p := start(t, Options{})
	for name, change := range map[string]func(*http.Request){
		"none":           func(r *http.Request) { r.Header.Del("Authorization") },
		"wrong":          func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+p.Token()+"x") },
		"prefix":         func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+p.Token()[:10]) },
		"empty":          func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") },
		"another scheme": func(r *http.Request) { r.Header.Set("Authorization", "Basic "+p.Token()) },
		"no scheme":      func(r *http.Request) { r.Header.Set("Authorization", p.Token()) },
		"two":            func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+p.Token()) },
	} {
		for _, call := range [][2]string{{"POST", signalsPath}, {"GET", "/dev/summary"}, {"GET", "/dev/signals"}, {"GET", "/dev/signals/" + idOf("a")}, {"GET", "/dev/conflicts"}, {"GET", "/dev/keys"}, {"GET", entitlementsPath}} {
			resp, text := p.do(t, call[0], call[1], batchType, batch(signal(idOf("a"), `{}`)), change)
			if resp.StatusCode != 401 || refusal(t, text).Code != "unauthorized" || !strings.HasPrefix(resp.Header.Get("Www-Authenticate"), "Bearer") {
				t.Errorf("%s, %s: answered %d %s", name, call[1], resp.StatusCode, text)
			}
		}
	}
	if len(p.IDs()) != 0 {
		t.Error("a signal without the token is held")
	}
	if resp, _ := p.do(t, "GET", "/dev/summary", "", "", func(r *http.Request) { r.Header.Set("Authorization", "bearer "+p.Token()) }); resp.StatusCode != 200 {
		t.Errorf("the scheme in lower case: %d", resp.StatusCode)
	}
}

func TestRoutes(t *testing.T) {
	p := start(t, Options{})
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", 404, ""},
		{"GET", "/api", 404, ""},
		{"POST", signalsPath + "/", 404, ""},
		{"POST", "//api/axon/signals", 404, ""},
		{"POST", "/api/axon/../axon/signals", 404, ""},
		{"GET", signalsPath, 405, "POST"},
		{"DELETE", signalsPath, 405, "POST"},
		{"PUT", "/dev/summary", 405, "GET, HEAD"},
		{"POST", "/dev/signals/" + idOf("a"), 405, "GET, HEAD"},
		{"GET", "/dev/signals/", 404, ""},
		{"GET", "/dev/signals/a/b", 404, ""},
		{"GET", "/dev/signals/" + idOf("a"), 404, ""},
		{"GET", "/dev/signals?limit=x", 422, ""},
		{"GET", "/dev/signals?after=-1", 422, ""},
		{"GET", "/dev/summary", 200, ""},
		{"HEAD", "/dev/summary", 200, ""},
	} {
		resp, text := p.do(t, c.method, c.path, "", "")
		if resp.StatusCode != c.status || resp.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: answered %d, Allow %q", c.method, c.path, resp.StatusCode, resp.Header.Get("Allow"))
		}
		if c.status >= 400 {
			refusal(t, text)
			if got := resp.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("%s %s: an error of type %q", c.method, c.path, got)
			}
		}
	}
}

func TestContentTypeAndEncoding(t *testing.T) {
	p := start(t, Options{})
	body := batch(signal(idOf("a"), `{}`))
	for contentType, want := range map[string]int{
		"":                              415,
		"application/json":              415,
		"application/cloudevents+json":  415,
		"application/cloudevents-batch": 415,
		batchType + "; charset=latin1":  415,
		batchType + "; a=b":             415,
		batchType + ", text/plain":      415,
		batchType + "; charset=UTF-8":   200,
		strings.ToUpper(batchType):      200,
		batchType:                       200,
	} {
		if resp, text := p.do(t, "POST", signalsPath, contentType, body); resp.StatusCode != want {
			t.Errorf("type %q: answered %d %s", contentType, resp.StatusCode, text)
		}
	}
	for coding, want := range map[string]int{"gzip": 415, "br": 415, "x": 415, "identity": 200} {
		if resp, text := p.do(t, "POST", signalsPath, batchType, body, func(r *http.Request) { r.Header.Set("Content-Encoding", coding) }); resp.StatusCode != want {
			t.Errorf("coding %q: answered %d %s", coding, resp.StatusCode, text)
		}
	}
	chunked := func(r *http.Request) {
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader(body[:10]), strings.NewReader(body[10:])))
		r.ContentLength = -1
	}
	if resp, text := p.do(t, "POST", signalsPath, batchType, "", chunked); resp.StatusCode != 200 {
		t.Errorf("chunked: answered %d %s", resp.StatusCode, text)
	}
	endless := func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader("[" + strings.Repeat(" ", maxBody+1000)))
		r.ContentLength = -1
	}
	if resp, text := p.do(t, "POST", signalsPath, batchType, "", endless); resp.StatusCode != 413 {
		t.Errorf("chunked and too large: answered %d %s", resp.StatusCode, text)
	}
}

func TestLookingAtWhatIsHeld(t *testing.T) {
	p := start(t, Options{Tier: "paid"})
	var want []string
	for i := range 5 {
		id := idOf(fmt.Sprint(i))
		want = append(want, id)
		p.post(t, batch(signal(id, `{}`)))
	}
	_, text := p.do(t, "GET", "/dev/signals?after=1&limit=3", "", "")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %s", text)
	}
	for i, line := range lines {
		var doc struct{ ID, Type, SHA256 string }
		if err := json.Unmarshal([]byte(line), &doc, json.MatchCaseInsensitiveNames(true)); err != nil || doc.ID != want[i+1] || doc.Type != "interaction.created" || len(doc.SHA256) != 64 {
			t.Errorf("line %d: %s, %v", i, line, err)
		}
	}
	resp, text := p.do(t, "GET", "/dev/signals/"+want[0], "", "")
	if text != signal(want[0], `{}`) || resp.Header.Get("Content-Type") != "application/cloudevents+json" {
		t.Errorf("got %s", text)
	}
	_, text = p.do(t, "GET", "/dev/summary", "", "")
	var doc struct {
		Schema string `json:"schema"`
		Summary
	}
	if err := json.Unmarshal([]byte(text), &doc, json.RejectUnknownMembers(true)); err != nil || doc.Schema != "carl.camp.dev/1" || doc.Signals != 5 || doc.Tier != "paid" {
		t.Errorf("%v in %s", err, text)
	}
}

func TestRequestLog(t *testing.T) {
	var log []Request
	lines := make(chan Request, 10)
	p := start(t, Options{Log: func(r Request) { lines <- r }, Clock: func() time.Time { return time.Unix(1, 0) }})
	p.post(t, batch(signal(idOf("a"), `{}`), signal(idOf("b"), `{}`)))
	p.do(t, "GET", "/nowhere", "", "")
	for range 2 {
		log = append(log, <-lines)
	}
	if r := log[0]; r.Method != "POST" || r.Path != signalsPath || r.Status != 200 || r.Events != 2 || r.Fault != "" || !r.Time.Equal(time.Unix(1, 0)) {
		t.Errorf("%+v", r)
	}
	if r := log[1]; r.Status != 404 || r.Path != "/nowhere" {
		t.Errorf("%+v", r)
	}
}

func TestStartListensOnLoopbackOnly(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0", "10.0.0.1:0", "example.com:0", "127.0.0.1", "", "127.0.0.1.example.com:0"} {
		if url, err := s.Start(address); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %s, %v", address, url, err)
		}
	}
	if _, err := s.Start("localhost:0"); err != nil {
		t.Error(err)
	}
	if _, err := s.Start("127.0.0.1:0"); fault.CodeOf(err) != fault.Internal {
		t.Errorf("a second start: %v", err)
	}
	open, err := New(Options{Anywhere: true})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if _, err := open.Start(":0"); err != nil {
		t.Error(err)
	}
}

func TestTokenOption(t *testing.T) {
	if _, err := New(Options{Token: "two words"}); fault.CodeOf(err) != fault.CampTokenInvalid {
		t.Errorf("got %v", err)
	}
	a, b := start(t, Options{}), start(t, Options{})
	if a.Token() == b.Token() {
		t.Error("two stand-ins have one token")
	}
	if _, err := camp.ParseToken(a.Token()); err != nil {
		t.Error(err)
	}
}

func TestShutdownAnswersWhatIsUnderWay(t *testing.T) {
	faults, err := ParseFaults("slow:1")
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, Options{Faults: faults, Slow: time.Hour})
	type outcome struct {
		status int
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		resp, _, err := p.try("POST", signalsPath, batchType, batch(signal(idOf("a"), `{}`)))
		if err != nil {
			done <- outcome{0, err}
			return
		}
		done <- outcome{resp.StatusCode, nil}
	}()
	for p.draws.drawn() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := p.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if o := <-done; o.status != 200 {
		t.Errorf("the call under way got %+v", o)
	}
	if _, _, err := p.try("GET", "/dev/summary", "", ""); err == nil {
		t.Error("still answering")
	}
}

// FuzzParseBatch holds that every batch is either refused with a status or
// split into events that have ids and are what they were.
func FuzzParseBatch(f *testing.F) {
	good := signal(idOf("a"), `{"a":[1,"x"]}`)
	for _, s := range []string{batch(), batch(good), batch(good, good), " [ " + good + " ] ", batch(`{}`), batch(`{"id":1}`), "[[", `[{"id":"x`, batch(strings.Replace(good, "type", "t\\u0079pe", 1))} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		events, bad := parseBatch(body)
		if bad != nil {
			if events != nil || bad.status != 422 && bad.status != 413 {
				t.Fatalf("refused with %d and %d events", bad.status, len(events))
			}
			return
		}
		for _, e := range events {
			if !isID(e.id) || !bytes.Contains(body, e.body) {
				t.Fatalf("an event %q that was not sent: %q", e.id, e.body)
			}
			if e.problem == "" {
				line, at := appendLine(nil, 0, e.body, time.Unix(1, 0))
				again, where, ok := parseLine(line)
				if !ok || int64(where) != at || again.id != e.id || again.sum != e.sum || len(again.body) != len(e.body) {
					t.Fatalf("kept as %q it is no longer the same", line)
				}
			}
			findToken(e.body, "token")
		}
	})
}
