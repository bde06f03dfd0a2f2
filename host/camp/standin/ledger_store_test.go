package standin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

func TestLedgersOutlastARestart(t *testing.T) {
	h := newHand()
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, Options{DataDir: dir, Clock: h.clock})
	a, b := newAuthor("a"), newAuthor("b")
	a.begin()
	b.begin()
	a.write(a.rotation(keyNamed("next")))
	a.key = keyNamed("next")
	a.write(a.opener())
	// Two ledgers, by turns, with a restart after each block.
	var arrived [][]byte
	receipts := map[string]string{}
	restart := func() {
		t.Helper()
		before, key := p.holding(), p.ReceiptKey()
		p.ConflictNextBlock()
		p.SetReceipts(false)
		if err := p.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		h.pass(time.Minute)
		p = start(t, Options{DataDir: dir, Clock: h.clock})
		if p.holding() != before || p.ReceiptKey() != key {
			t.Fatalf("after the restart there is %s, before it %s", p.holding(), before)
		}
	}
	send := func(author *author, i int) {
		t.Helper()
		line := author.lines[i]
		var change []func(*http.Request)
		if i == 0 {
			change = append(change, withKey(author.key))
		}
		if author == a && i == 0 {
			change = []func(*http.Request){withKey(keyNamed("a"))}
		}
		status, body := p.append(t, line, change...)
		if status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		receipts[sigOf(line)] = readAck(t, body).Receipt
		arrived = append(arrived, line)
		restart()
	}
	for i := range a.lines {
		send(a, i)
		if i < len(b.lines) {
			send(b, i)
		}
	}
	for _, author := range []*author{a, b} {
		if !slices.EqualFunc(p.Lines(author.id), author.lines, bytes.Equal) {
			t.Errorf("of %s there is %s", author.id, p.Lines(author.id))
		}
		for _, line := range author.lines {
			status, body := p.append(t, line)
			if ack := readAck(t, body); status != 200 || !ack.Duplicate || ack.Receipt != receipts[sigOf(line)] {
				t.Errorf("again: %d %s", status, body)
			}
		}
	}
	if status, body := p.append(t, a.write(a.decision("later"))); status != 200 {
		t.Errorf("the next block: %d %s", status, body)
	}
	data, err := os.ReadFile(filepath.Join(dir, "ledger.jsonl"))
	if want := string(bytes.Join(append(arrived, a.lines[len(a.lines)-1]), []byte("\n"))) + "\n"; err != nil || string(data) != want {
		t.Errorf("ledger.jsonl is %q, want %q", data, want)
	}
	for _, name := range []string{"ledger.jsonl", "ledger_received.jsonl"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 && os.PathSeparator == '/' {
			t.Errorf("%s has mode %v", name, got)
		}
	}
}

// ledgerFolder is the files of a stand-in that holds blocks of two ledgers.
func ledgerFolder(t *testing.T) (dir string, a *author, lines, received []byte) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	h := newHand()
	p := start(t, Options{DataDir: dir, Clock: h.clock})
	a = newAuthor("a")
	a.begin()
	b := newAuthor("b")
	b.begin()
	p.take(t, a, a.lines[:2]...)
	p.take(t, b, b.lines...)
	p.take(t, a, a.lines[2])
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, a, readFile(t, filepath.Join(dir, "ledger.jsonl")), readFile(t, filepath.Join(dir, "ledger_received.jsonl"))
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFiles(t testing.TB, dir string, lines, received []byte) {
	t.Helper()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "ledger.jsonl"), lines, 0o600), os.WriteFile(filepath.Join(dir, "ledger_received.jsonl"), received, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// lastLine splits off the last line.
func lastLine(data []byte) (rest, last []byte) {
	at := bytes.LastIndexByte(data[:len(data)-1], '\n') + 1
	return data[:at:at], data[at:]
}

// TestBlockThatWasOnItsWay ends the process all along what is written for a
// block: first the line that goes with it, then its own.
func TestBlockThatWasOnItsWay(t *testing.T) {
	dir, a, lines, received := ledgerFolder(t)
	lessLines, lastOne := lastLine(lines)
	lessReceived, lastReceived := lastLine(received)
	try := func(name string, lineBytes, receivedBytes int) {
		writeFiles(t, dir, append(lessLines, lastOne[:lineBytes]...), append(lessReceived, lastReceived[:receivedBytes]...))
		s, err := openLedgerStore(dir)
		if err != nil {
			t.Fatalf("%s, %d and %d bytes: %v", name, lineBytes, receivedBytes, err)
		}
		defer s.close()
		held := lineBytes == len(lastOne)
		want := 2
		wantLines, wantReceived := lessLines, lessReceived
		if held {
			want, wantLines, wantReceived = 3, lines, received
		}
		text, _, err := s.page(a.id, 0, 10, maxLinesPage)
		if n := bytes.Count(text, []byte("\n")); err != nil || n != want {
			t.Fatalf("%s, %d and %d bytes: %d blocks", name, lineBytes, receivedBytes, n)
		}
		if !bytes.Equal(readFile(t, filepath.Join(dir, "ledger.jsonl")), wantLines) || !bytes.Equal(readFile(t, filepath.Join(dir, "ledger_received.jsonl")), wantReceived) {
			t.Fatalf("%s, %d and %d bytes: the files are others", name, lineBytes, receivedBytes)
		}
	}
	for n := 0; n < len(lastReceived); n += 3 {
		try("before the block", 0, n)
	}
	for n := 0; n < len(lastOne)-1; n += 3 {
		try("in the block", n, len(lastReceived))
	}
	try("before its line end", len(lastOne)-1, len(lastReceived))
	try("behind it", len(lastOne), len(lastReceived))
	// A torn end of both is what a power cut leaves.
	try("in both", 5, 5)
	p := start(t, Options{DataDir: dir})
	if ack := p.take(t, a, bytes.TrimSuffix(lastOne, []byte("\n")))[0]; ack.Duplicate {
		t.Error("what was cut is held")
	}
}

func TestDamagedLedgersAreRefused(t *testing.T) {
	dir, a, whole, wholeReceived := ledgerFolder(t)
	edit := func(of []byte, old, new string) []byte {
		t.Helper()
		if !bytes.Contains(of, []byte(old)) {
			t.Fatalf("%q is not in %s", old, of)
		}
		return bytes.Replace(of, []byte(old), []byte(new), 1)
	}
	split := func(data []byte) [][]byte {
		return bytes.SplitAfter(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	}
	lines, received := split(whole), split(wholeReceived)
	lines[5], received[5] = append(lines[5], '\n'), append(received[5], '\n')
	join := func(list [][]byte, order ...int) (out []byte) {
		for _, i := range order {
			out = append(out, list[i]...)
		}
		return out
	}
	if string(join(lines, 0, 1, 2, 3, 4, 5)) != string(whole) {
		t.Fatal("the lines are others")
	}
	fork := newAuthor("a")
	fork.leaves = a.leaves[:2]
	forked, hash := signed(fork.decision("fork"), a.key)
	n := 0
	for name, c := range map[string]struct{ lines, received []byte }{
		"a bit of a line":                 {edit(whole, `"name":"first"`, `"name":"farst"`), wholeReceived},
		"a bit of a signature":            {edit(whole, `"sig":"`, `"sig":"0`)[:len(whole)], wholeReceived},
		"a space":                         {edit(whole, `"v":1`, `"v": 1`), wholeReceived},
		"an empty line":                   {edit(whole, "\n", "\n\n"), wholeReceived},
		"an empty first line":             {append([]byte("\n"), whole...), wholeReceived},
		"text":                            {append([]byte("hello\n"), whole...), wholeReceived},
		"a line that is too long":         {append(append(bytes.Repeat([]byte("x"), maxBlock+1), '\n'), whole...), wholeReceived},
		"a torn end that is too long":     {append(bytes.Clone(whole), bytes.Repeat([]byte("x"), maxBlock+2)...), wholeReceived},
		"a line removed":                  {join(lines, 0, 2, 3, 4, 5), wholeReceived},
		"a line removed from both":        {join(lines, 0, 2, 3, 4, 5), join(received, 0, 2, 3, 4, 5)},
		"a first line removed":            {join(lines, 1, 2, 3, 4, 5), join(received, 1, 2, 3, 4, 5)},
		"a line doubled":                  {join(lines, 0, 1, 1, 2, 3, 4, 5), join(received, 0, 1, 1, 2, 3, 4, 5)},
		"the last line doubled":           {join(lines, 0, 1, 2, 3, 4, 5, 5), join(received, 0, 1, 2, 3, 4, 5, 5)},
		"lines swapped":                   {join(lines, 1, 0, 2, 3, 4, 5), join(received, 1, 0, 2, 3, 4, 5)},
		"lines swapped, not theirs":       {join(lines, 2, 0, 1, 3, 4, 5), wholeReceived},
		"two lines missing":               {join(lines, 0, 1, 2, 3), wholeReceived},
		"all lines missing":               {nil, wholeReceived},
		"another last line":               {append(join(lines, 0, 1, 2, 3, 4), append(forked, '\n')...), wholeReceived},
		"a second last line":              {append(bytes.Clone(whole), append(forked, '\n')...), append(bytes.Clone(wholeReceived), edit(received[5], strings.Split(string(received[5]), `"`)[3], fmt.Sprintf("%x", hash))...)},
		"nothing received":                {whole, nil},
		"nothing received of the last":    {whole, join(received, 0, 1, 2, 3, 4)},
		"received is torn inside":         {whole, edit(wholeReceived, "\n", "")},
		"received is text":                {whole, append([]byte("hello\n"), wholeReceived...)},
		"received goes on with text":      {whole, append(bytes.Clone(wholeReceived), "hello\n"...)},
		"received goes on for two":        {whole, append(bytes.Clone(wholeReceived), join(received, 1, 1)...)},
		"received is too long":            {whole, append(append(bytes.Repeat([]byte("x"), maxArrival+1), '\n'), wholeReceived...)},
		"received in another form":        {whole, edit(wholeReceived, `{"block_hash"`, `{ "block_hash"`)},
		"received with another member":    {whole, edit(wholeReceived, `{"block_hash"`, `{"x":1,"block_hash"`)},
		"received at no time":             {whole, edit(wholeReceived, `2026-11-23T01:02:03Z`, `soon`)},
		"received at half a second":       {whole, edit(wholeReceived, `2026-11-23T01:02:03Z`, `2026-11-23T01:02:03.5Z`)},
		"received in another zone":        {whole, edit(wholeReceived, `2026-11-23T01:02:03Z`, `2026-11-23T01:02:03+01:00`)},
		"received is another block":       {whole, edit(wholeReceived, `{"block_hash":"`, `{"block_hash":"0`)[:len(wholeReceived)]},
		"received is another ledger's":    {whole, join(received, 2, 1, 0, 3, 4, 5)},
		"the first key is missing":        {whole, edit(wholeReceived, `,"key":"`+xOf(a.key)+`"`, ``)},
		"the first key is another":        {whole, edit(wholeReceived, xOf(a.key), xOf(keyNamed("other")))},
		"the first key is of small order": {whole, edit(wholeReceived, xOf(a.key), strings.Repeat("A", 43))},
		"a key later on":                  {whole, append(join(received, 0), append(edit(received[1], `}`, `,"key":"`+xOf(a.key)+`"}`), join(received, 2, 3, 4, 5)...)...)},
	} {
		n++
		writeFiles(t, dir, c.lines, c.received)
		s, err := New(Options{DataDir: dir})
		if fault.CodeOf(err) != fault.IO || !strings.Contains(err.Error(), "ledger") || !strings.Contains(err.Error(), "line") {
			t.Errorf("%s: %v", name, err)
		}
		if s != nil {
			s.Close()
		}
		if !bytes.Equal(readFile(t, filepath.Join(dir, "ledger.jsonl")), c.lines) || !bytes.Equal(readFile(t, filepath.Join(dir, "ledger_received.jsonl")), c.received) {
			t.Errorf("%s: the files were changed", name)
		}
	}
	if n < 30 {
		t.Errorf("saw %d kinds of damage", n)
	}
	// The folder is free, and takes the files that were brought back.
	writeFiles(t, dir, whole, wholeReceived)
	p := start(t, Options{DataDir: dir})
	if s := p.Summary(); s.Blocks != 6 {
		t.Errorf("summary %+v", s)
	}
}

// A store whose files can no longer be written acknowledges nothing.
func TestBrokenLedgerAcknowledgesNothing(t *testing.T) {
	for _, which := range []string{"lines", "came"} {
		dir := filepath.Join(t.TempDir(), "data")
		p := start(t, Options{DataDir: dir})
		a := newAuthor("a")
		a.begin()
		p.take(t, a, a.lines[0])
		p.ledgers.mu.Lock()
		file := p.ledgers.lines
		if which == "came" {
			file = p.ledgers.came
		}
		readOnly, err := os.Open(file.file.Name())
		if err != nil {
			t.Fatal(err)
		}
		file.file.Close()
		file.file = readOnly
		p.ledgers.mu.Unlock()
		for range 2 {
			p.refused(t, which, a.lines[1], 500, "storage", "")
		}
		if acks := p.take(t, a, a.lines[0]); !acks[0].Duplicate {
			t.Errorf("%s: what is held already: %+v", which, acks)
		}
		p.Close()
		p = start(t, Options{DataDir: dir})
		if s := p.Summary(); s.Blocks != 1 {
			t.Errorf("%s: after a restart %+v", which, s)
		}
		p.take(t, a, a.lines[1:]...)
	}
}

func TestBlocksAreSyncedOnceAndNeverAfterAFailure(t *testing.T) {
	for _, which := range []string{"lines", "came"} {
		dir := filepath.Join(t.TempDir(), "data")
		p := start(t, Options{DataDir: dir})
		var synced []string
		fail := ""
		spy := func(name string) func(*os.File) error {
			return func(f *os.File) error {
				synced = append(synced, name)
				if fail == name {
					return errors.New("input/output error")
				}
				return f.Sync()
			}
		}
		p.ledgers.lines.sync, p.ledgers.came.sync = spy("lines"), spy("came")
		a := newAuthor("a")
		a.begin()
		p.take(t, a, a.lines[0])
		p.take(t, a, a.lines[0])
		if got := strings.Join(synced, " "); got != "came lines" {
			t.Errorf("synced %q before the answers", got)
		}
		fail = which
		for range 2 {
			p.refused(t, which, a.lines[1], 500, "storage", "")
			fail = ""
		}
		want := map[string]string{"came": "came lines came", "lines": "came lines came lines"}[which]
		if got := strings.Join(synced, " "); got != want {
			t.Errorf("%s: synced %q, want %q", which, got, want)
		}
		p.Close()
		// What became of the block shows at the next start; either is whole.
		p = start(t, Options{DataDir: dir})
		p.take(t, a, a.lines...)
	}
}

func TestBlocksAfterClose(t *testing.T) {
	p := start(t, Options{DataDir: filepath.Join(t.TempDir(), "data")})
	a := newAuthor("a")
	a.begin()
	p.take(t, a, a.lines[0])
	p.Close()
	if status := p.recorded(a.lines[1], a.key); status != 500 {
		t.Errorf("after Close: %d", status)
	}
	if p.Lines(a.id) != nil {
		t.Error("reads a file that it gave up")
	}
}

// TestKilledWhileItTakesBlocks kills a stand-in again and again. What it had
// acknowledged is there after the next start, and the chain goes on.
func TestKilledWhileItTakesBlocks(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	a := newAuthor("a")
	a.begin()
	acknowledged := 0
	for generation := range 5 {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "STANDIN_TEST_DIR="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		token := strings.TrimSpace(string(readFile(t, filepath.Join(dir, "token"))))
		p := &platform{&Server{token: token}, strings.TrimSpace(line)}
		// The killer waits for some acknowledgements, and then strikes while
		// others are on their way.
		strike := make(chan struct{})
		go func() {
			<-strike
			cmd.Process.Kill()
		}()
		for n := 0; ; n++ {
			for len(a.lines) <= acknowledged {
				a.write(a.decision(fmt.Sprint(len(a.lines))))
			}
			block := a.lines[acknowledged]
			resp, text, err := p.try("POST", ledgerPath, "application/json", string(block), withKey(a.key), func(r *http.Request) { r.Header.Set("Idempotency-Key", sigOf(block)) })
			if err != nil {
				break
			}
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("block %d: %d %s", acknowledged, resp.StatusCode, text)
			}
			acknowledged++
			if n == 10+generation {
				close(strike)
			}
		}
		cmd.Wait()
	}
	s, err := New(Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	held := s.Lines(a.id)
	if len(held) < acknowledged || acknowledged < 5*11 || !slices.EqualFunc(held[:acknowledged], a.lines[:acknowledged], bytes.Equal) {
		t.Errorf("%d blocks are held, and %d were acknowledged", len(held), acknowledged)
	}
}

// A folder from before there were receipts gets a key for them, once.
func TestReceiptKeyIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, Options{DataDir: dir})
	key := p.ReceiptKey()
	p.Close()
	p = start(t, Options{DataDir: dir})
	if p.ReceiptKey() != key {
		t.Error("the key is another one")
	}
	old := p.issuer.current().clone()
	p.Close()

	old.ReceiptKey = nil
	data, err := private.FormatJSON(old)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "keys.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	p = start(t, Options{DataDir: dir, Tier: "paid"})
	made := p.ReceiptKey()
	if made == key || p.Summary().Tier != "paid" {
		t.Errorf("the key is %s again", made)
	}
	p.Close()
	if p = start(t, Options{DataDir: dir}); p.ReceiptKey() != made || p.OfflineRoot() != public(old.OfflineRoot).String() {
		t.Error("the key that was made is not kept")
	}
	p.Close()

	for name, bad := range map[string]b64{"short": old.OfflineRoot[:31], "long": append(slices.Clone(old.OfflineRoot), 0)} {
		st := old.clone()
		st.ReceiptKey = bad
		data, err := private.FormatJSON(st)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseState(data); err == nil || !strings.Contains(err.Error(), "receipt key") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzLedgerFiles holds that whatever the two files hold, a store is either
// refused, and they stay as they are, or opened, and opens again with the same.
func FuzzLedgerFiles(f *testing.F) {
	a := newAuthor("a")
	a.begin()
	store := newLedgerStore()
	var lines, received []byte
	for _, line := range a.lines {
		b, flaw := parseBlock(line)
		if flaw != nil {
			f.Fatal(flaw)
		}
		lines = append(append(lines, line...), '\n')
		arrived := arrival{BlockHash: b.hash.String(), Received: "2026-11-23T01:02:03Z"}
		if len(received) == 0 {
			arrived.Key = b64(public(b64(a.key.Seed())))
		}
		received = append(received, arrived.line()...)
		if _, err := store.append(b, line, []byte(arrived.Key), time.Unix(0, 0)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(lines, received)
	f.Add(lines[:len(lines)-10], received)
	f.Add(lines[:len(lines)-10], received[:len(received)-10])
	f.Add([]byte(nil), received[:bytes.IndexByte(received, '\n')+1])
	f.Add([]byte("x"), []byte("x"))
	f.Add([]byte("\n"), []byte("\n"))
	f.Fuzz(func(t *testing.T, lines, received []byte) {
		dir := t.TempDir()
		writeFiles(t, dir, lines, received)
		s, err := openLedgerStore(dir)
		if err != nil {
			if !bytes.Equal(readFile(t, filepath.Join(dir, "ledger.jsonl")), lines) || !bytes.Equal(readFile(t, filepath.Join(dir, "ledger_received.jsonl")), received) {
				t.Fatal("what was refused was changed")
			}
			return
		}
		first := fmt.Sprint(s.list())
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		left := readFile(t, filepath.Join(dir, "ledger.jsonl"))
		if !bytes.HasPrefix(lines, left) || bytes.ContainsRune(lines[len(left):], '\n') {
			t.Fatalf("of %q there is %q", lines, left)
		}
		if s, err = openLedgerStore(dir); err != nil {
			t.Fatal(err)
		}
		defer s.close()
		if again := fmt.Sprint(s.list()); again != first {
			t.Fatalf("%s became %s", first, again)
		}
	})
}
