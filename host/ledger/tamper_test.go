package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"carl.camp/carl/host/fault"
)

// genuine is a ledger as it was left, against which other files are held.
type genuine struct {
	*made
	covered uint64
	lines   [][]string // of each file, with their line ends
}

func newGenuine(t testing.TB, f *forged) *genuine {
	g := &genuine{made: f.make(t), covered: f.covered}
	if g.covered == 0 {
		g.covered = uint64(len(g.blocks))
	}
	for _, name := range g.names {
		g.lines = append(g.lines, slices.Collect(strings.Lines(g.image[name])))
	}
	return g
}

// judge tells what verification must find: the first block that is not what it
// was, or -1, how many blocks there are, and how many bytes behind them.
func (g *genuine) judge(im image) (bad int64, size uint64, torn int) {
	seq := g.first
	for i, name := range g.names {
		last, content, at := i == len(g.names)-1, im[name], 0
		for j, want := range g.lines[i] {
			if !strings.HasPrefix(content[at:], want) {
				if j > 0 && last && seq >= g.covered {
					return -1, seq, len(content) - at
				}
				return int64(seq), 0, 0
			}
			at += len(want)
			seq++
		}
		if at < len(content) {
			if last && seq >= g.covered {
				return -1, seq, len(content) - at
			}
			return int64(seq), 0, 0
		}
	}
	return -1, seq, 0
}

// holds reports whether verification found what it must.
func (g *genuine) holds(im image, r *Report, err error) string {
	bad, size, torn := g.judge(im)
	if bad < 0 {
		if err != nil || r.Size != size || r.Torn != torn {
			return fmt.Sprintf("%d blocks are there, and %d bytes behind them: %+v, %v", size, torn, r, err)
		}
		return ""
	}
	if fault.CodeOf(err) != fault.LedgerTampered {
		return fmt.Sprintf("block %d is wrong: %+v, %v", bad, r, err)
	}
	if n, ok := badSeq(err); !ok || n != bad {
		return fmt.Sprintf("block %d is wrong: %v", bad, err)
	}
	return ""
}

// TestEveryByte changes every byte of every file: all its bits in one line, and
// one in the others. The first block that is wrong is named.
func TestEveryByte(t *testing.T) {
	for name, g := range map[string]*genuine{"covered": newGenuine(t, small(false)), "beyond": newGenuine(t, small(true))} {
		for i, file := range g.names {
			if name == "beyond" && file != activeName {
				continue // as with the other head
			}
			t.Run(name+"/"+file, func(t *testing.T) {
				t.Parallel()
				fsys := g.disk(t)
				l := ledgerOn(fsys, 0)
				f, err := fsys.OpenFile(filepath.Join(modelHome, file), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				content, at, flipped := []byte(g.image[file]), 0, 0
				for _, line := range g.lines[i] {
					all := strings.Contains(line, `"kind":"recovery"`)
					for end := at + len(line); at < end; at++ {
						for bit := range 8 {
							if !all && bit != rand.New(rand.NewPCG(uint64(at), 1)).IntN(8) {
								continue
							}
							was := content[at]
							if flipped++; left(flipped) {
								continue
							}
							content[at] ^= 1 << bit
							f.WriteAt(content[at:at+1], int64(at))
							r, err := l.Verify(t.Context(), nil)
							if why := g.holds(g.with(file, string(content)), r, err); why != "" {
								t.Errorf("byte %d, bit %d: %s", at, bit, why)
							}
							content[at] = was
							f.WriteAt(content[at:at+1], int64(at))
						}
					}
				}
				if flipped < len(content) {
					t.Errorf("%d of %d bytes", flipped, len(content))
				}
			})
		}
	}
}

// TestEveryBitOfTheHead changes the checkpoint: there is one form of it.
func TestEveryBitOfTheHead(t *testing.T) {
	g := newGenuine(t, ordinary())
	fsys := g.disk(t)
	l := ledgerOn(fsys, 0)
	f, err := fsys.OpenFile(filepath.Join(modelHome, headName), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	head := []byte(g.image[headName])
	for i := range head {
		for bit := range 8 {
			head[i] ^= 1 << bit
			f.WriteAt(head, 0)
			if r, err := l.Verify(t.Context(), nil); fault.CodeOf(err) != fault.LedgerTampered {
				t.Errorf("byte %d, bit %d: %+v, %v", i, bit, r, err)
			}
			head[i] ^= 1 << bit
		}
	}
}

// TestEveryBitOfTheEdge changes a cache: nothing comes of it.
func TestEveryBitOfTheEdge(t *testing.T) {
	f := ordinary()
	f.covered = 11
	g := newGenuine(t, f)
	good := g.image[edgeName]
	for i := range len(good) * 8 {
		data := []byte(good)
		data[i/8] ^= 1 << (i % 8)
		if i/8 < 8 || i%8 == 0 { // every bit of the size, one of each byte of the hashes
			g.goesOn(t, fmt.Sprintf("bit %d", i), g.with(edgeName, string(data)))
		}
	}
	for n := range len(good) {
		if n%16 < 2 {
			g.goesOn(t, fmt.Sprintf("%d bytes", n), g.with(edgeName, good[:n]))
		}
	}
	g.goesOn(t, "as it was", g.image)
	g.goesOn(t, "of all blocks", g.with(edgeName, ordinary().make(t).image[edgeName]))
	g.goesOn(t, "too long", g.with(edgeName, good+strings.Repeat("x", 4096)))
	g.goesOn(t, "of nothing", g.with(edgeName, strings.Repeat("\x00", 8)))
}

// goesOn appends to a ledger that nothing is wrong with.
func (g *genuine) goesOn(t *testing.T, what string, im image) {
	t.Helper()
	l := ledgerOn(im.disk(t), 0)
	b, err := decide(l, "next")
	if err != nil || b.Seq != uint64(len(g.blocks)) || b.Prev != g.hashes[len(g.hashes)-1] || b.Decision.From != "c" || b.Decision.Constitution != digest("two") {
		t.Errorf("%s: %+v, %v", what, b, err)
		return
	}
	if r := verify(t, l); r.Size != b.Seq+1 || r.Head != r.Size {
		t.Errorf("%s: %+v", what, r)
	}
}

// rewritten are other texts for a line, none of which is what was signed.
func rewritten(t testing.TB, line string, key ed25519.PrivateKey) map[string]string {
	t.Helper()
	line = strings.TrimSuffix(line, "\n")
	b, unsigned, ok := parse([]byte(line))
	if !ok {
		t.Fatal(line)
	}
	sub := func(old, new string) string {
		if !strings.Contains(line, old) {
			t.Fatalf("there is no %s in %s", old, line)
		}
		return strings.Replace(line, old, new, 1)
	}
	other := *b
	signedByOther, _ := other.sign(keyFrom("other"))
	other.KeyID = keyID(keyFrom("other").Public().(ed25519.PublicKey))
	signedAsOther, _ := other.sign(keyFrom("other"))
	seq, sig := fmt.Sprintf(`"seq":%d`, b.Seq), fmt.Sprintf(`"sig":"%x"`, b.Sig[:])
	texts := map[string]string{
		"removed": "", "doubled": line + "\n" + line, "an empty line before": "\n" + line,
		"an empty line":     "\n" + strings.Repeat(" ", len(line)),
		"an object":         "{}",
		"another key":       string(signedByOther),
		"another key by id": string(signedAsOther),
		"no signature":      sub(","+sig, ""),
		"a short signature": sub(sig, fmt.Sprintf(`"sig":"%x"`, b.Sig[:63])),
		"a null signature":  sub(sig, `"sig":null`),
		"S plus the order":  sub(sig, fmt.Sprintf(`"sig":"%x"`, malleated(b.Sig))),
		"space at the end":  line + " ", "space before": " " + line, "CR": line + "\r",
		"space within": "{ " + line[1:], "tab within": sub(",", ",\t"), "BOM": "\ufeff" + line, "NUL": line + "\x00",
		"a comma more": line[:len(line)-1] + ",}", "two values": line + line, "an array": "[" + line + "]",
		"members in another order": `{"v":1,` + sub(`,"v":1`, "")[1:],
		"two members swapped":      swapped(line, "key_id", "kind"),
		"two members behind sig":   swapped(line, "ts", "v"),
		"sig at the end":           sub(","+sig, "")[:len(unsigned)-1] + "," + sig + "}",
		"sig at the beginning":     "{" + sig + "," + sub(","+sig, "")[1:],
		"an escape":                sub(`"kind":"`+string(b.Kind[:1]), fmt.Sprintf(`"kind":"\u%04x`, b.Kind[0])),
		"an escaped name":          sub(`"seq"`, `"s\u0065q"`),
		"a member twice":           sub(`"v":1`, `"v":1,"v":1`),
		"an escaped member twice":  sub(seq, seq+`,"s\u0065q":`+fmt.Sprint(b.Seq)),
		"sig twice":                sub(sig, sig+","+sig),
		"a member more":            sub(`"v":1`, `"v":1,"w":1`),
		"a member less":            sub(seq+",", ""),
		"a later version":          sub(`"v":1`, `"v":2`), "a version as text": sub(`"v":1`, `"v":"1"`),
		"1.0": sub(`"v":1`, `"v":1.0`), "1e0": sub(`"v":1`, `"v":1e0`), "seq.0": sub(seq, seq+".0"), "seq e0": sub(seq, seq+"e0"),
		"seq with a zero": sub(seq, strings.Replace(seq, ":", ":0", 1)), "seq negative": sub(seq, strings.Replace(seq, ":", ":-", 1)),
		"seq as text":     sub(seq, fmt.Sprintf(`"seq":"%d"`, b.Seq)),
		"seq null":        sub(seq, `"seq":null`),
		"a greater seq":   sub(seq, fmt.Sprintf(`"seq":%d`, b.Seq+1)),
		"a huge seq":      sub(seq, `"seq":18446744073709551616`),
		"uppercase hash":  sub(fmt.Sprintf("%x", b.Prev[:]), fmt.Sprintf("%X", b.Prev[:])),
		"uppercase sig":   sub(sig, fmt.Sprintf(`"sig":"%X"`, b.Sig[:])),
		"another time":    sub(`T12:00`, `T12:01`),
		"a comma in time": sub(`.000000Z`, `,000000Z`), "an offset": sub(`.000000Z`, `.000000+00:00`), "a short time": sub(`.000000Z`, `Z`),
		"bad UTF-8": sub(`"kind":"`, `"kind":"`+"\xff"), "a lone surrogate": sub(`"kind":"`, `"kind":"\ud800`),
	}
	if b.Seq == 0 {
		delete(texts, "uppercase hash") // of zeros there is none
	}
	if strings.ToUpper(hex.EncodeToString(b.Sig[:])) == hex.EncodeToString(b.Sig[:]) {
		t.Fatal("a signature without letters")
	}
	// Signed by the ledger's own key, in a form that it does not write.
	for name, loose := range map[string]string{
		"a space": "{ " + string(unsigned[1:]), "1.0": strings.Replace(string(unsigned), `"v":1`, `"v":1.0`, 1),
		"a name": strings.Replace(string(unsigned), `"v":1`, `"v":1,"w":1`, 1),
		"twice":  strings.Replace(string(unsigned), `"v":1`, `"v":1,"v":1`, 1),
		"escape": strings.Replace(string(unsigned), `"kind"`, `"\u006bind"`, 1),
	} {
		texts["its own key over "+name] = string(insertSig(nil, []byte(loose), ed25519.Sign(key, []byte(signPrefix+loose))))
	}
	return texts
}

// swapped is a line with two neighbouring members in the other order.
func swapped(line, first, second string) string {
	a, b := strings.Index(line, `"`+first+`":`), strings.LastIndex(line, `,"`+second+`":`)
	end := b + 1 + strings.IndexAny(line[b+1:], ",}")
	return line[:a] + line[b+1:end] + "," + line[a:b] + line[end:]
}

// malleated is the signature with the group's order added to S (RFC 8032 §5.1.7
// has it refused).
func malleated(sig [64]byte) []byte {
	order, _ := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	carry := 0
	for i, o := range order {
		carry += int(sig[32+i]) + int(o)
		sig[32+i] = byte(carry)
		carry >>= 8
	}
	return sig[:]
}

// variant is a change to a ledger's files.
type variant struct {
	what string
	image
	// opens says that the open file begins with another file's first block: which
	// closed files count is told by that one, and so is what is missing first.
	opens bool
}

// variants are changes to whole lines: each is written in other ways, removed,
// doubled, moved to any other place, and swapped with any other.
func (g *genuine) variants(t testing.TB, key ed25519.PrivateKey) (all []variant) {
	seq := g.first
	for i, name := range g.names {
		for j, line := range g.lines[i] {
			lines := slices.Clone(g.lines[i])
			texts := rewritten(t, line, key)
			for _, what := range slices.Sorted(maps.Keys(texts)) {
				if lines[j] = texts[what] + "\n"; what == "removed" {
					lines[j] = ""
				}
				all = append(all, variant{fmt.Sprintf("block %d of %s: %s", seq, name, what), g.with(name, strings.Join(lines, "")), false})
			}
			rest := slices.Delete(slices.Clone(g.lines[i]), j, j+1)
			for to, toName := range g.names {
				lines := g.lines[to]
				if to == i {
					lines = rest
				}
				for k := range len(lines) + 1 {
					im := g.with(name, strings.Join(rest, "")).with(toName, strings.Join(slices.Insert(slices.Clone(lines), k, line), ""))
					if !maps.Equal(im, g.image) {
						all = append(all, variant{fmt.Sprintf("block %d: moved to place %d of %s", seq, k, toName), im, j == 0 && k == 0 && toName == activeName})
					}
				}
			}
			seq++
		}
	}
	return all
}

// TestEveryLine changes the lines as wholes.
func TestEveryLine(t *testing.T) {
	t.Parallel()
	for _, f := range []*forged{ordinary(), small(true)} {
		g := newGenuine(t, f)
		vs := g.variants(t, f.key)
		if len(vs) < 500 {
			t.Errorf("only %d variants", len(vs))
		}
		for i, v := range vs {
			if left(i) {
				continue
			}
			r, err := verifyImage(t, v.image)
			if v.opens && fault.CodeOf(err) == fault.LedgerTampered {
				continue
			}
			if why := g.holds(v.image, r, err); why != "" {
				t.Errorf("%s, head of %d: %s", v.what, g.covered, why)
			}
		}
	}
}

// TestEveryCut ends each file at each byte, and one line of each.
func TestEveryCut(t *testing.T) {
	t.Parallel()
	g := newGenuine(t, small(true))
	for i, name := range g.names {
		for n := range len(g.image[name]) {
			if name != activeName && n%7 != 0 && !strings.HasSuffix(g.image[name][:n], "\n") {
				continue // the closed files are alike
			}
			if left(n) {
				continue
			}
			im := g.with(name, g.image[name][:n])
			r, err := verifyImage(t, im)
			if why := g.holds(im, r, err); why != "" {
				t.Errorf("%s cut at %d: %s", name, n, why)
			}
		}
		for n := i; n < len(g.lines[i][1])-1; n += 3 {
			if left(n) {
				continue
			}
			lines := slices.Clone(g.lines[i])
			lines[1] = lines[1][:n] + "\n"
			im := g.with(name, strings.Join(lines, ""))
			r, err := verifyImage(t, im)
			if why := g.holds(im, r, err); why != "" {
				t.Errorf("line 1 of %s cut at %d: %s", name, n, why)
			}
		}
	}
}

// TestAnotherSignedBlock has the ledger's own key sign another block for one
// that is there. Where it begins to differ cannot be told from the blocks; it is
// found where they do not fit any more.
func TestAnotherSignedBlock(t *testing.T) {
	g := newGenuine(t, ordinary())
	for at := range uint64(13) {
		f := ordinary()
		f.change = func(b *Block) {
			if b.Seq == at {
				b.Time = b.Time.Add(1000)
			}
		}
		fork, seq := newGenuine(t, f), uint64(0)
		for i, name := range g.names {
			for j := range g.lines[i] {
				if seq == at {
					lines := slices.Clone(g.lines[i])
					lines[j] = fork.lines[i][j]
					_, err := verifyImage(t, g.with(name, strings.Join(lines, "")))
					if fault.CodeOf(err) != fault.LedgerTampered {
						t.Fatalf("block %d is another one: %v", at, err)
					}
					if bad, ok := badSeq(err); !ok || bad < int64(at) || bad > int64(at)+1 {
						t.Errorf("block %d is another one: %v", at, err)
					}
				}
				seq++
			}
			// The file of the fork, as a whole.
			_, err := verifyImage(t, g.with(name, fork.image[name]))
			if fork.image[name] == g.image[name] {
				if err != nil {
					t.Error(err)
				}
				continue
			}
			if bad, ok := int64(-1), false; fault.CodeOf(err) == fault.LedgerTampered {
				if bad, ok = badSeq(err); !ok || bad < int64(at) {
					t.Errorf("a fork at %d, file %s: %v", at, name, err)
				}
			} else {
				t.Errorf("a fork at %d, file %s: %v", at, name, err)
			}
		}
	}
}

// TestHeads puts other checkpoints beside the blocks.
func TestHeads(t *testing.T) {
	f := ordinary()
	g := newGenuine(t, f)
	head := g.image[headName]
	text, sig, _ := strings.Cut(head, "\n\n")
	lines := strings.Split(text, "\n")
	// forge signs another text with the ledger's key, as only its holder could.
	forge := func(text string) string {
		msg, err := note.Sign(&note.Note{Text: text}, newSigner(origin(f.id), f.key))
		if err != nil {
			t.Fatal(err)
		}
		return string(msg)
	}
	longer, other, foreign := ordinary(), ordinary(), ordinary()
	longer.files[3] = append(longer.files[3], &Note{"n", "beyond"})
	other.id = strings.Repeat("f", 32)
	foreign.key = keyFrom("foreign")
	fork := ordinary()
	fork.change = func(b *Block) { b.Time = b.Time.Add(1000) }
	hash := lines[2]
	for what, h := range map[string]string{
		"nothing": "", "garbage": strings.Repeat("x", 300), "a line": "\n", "much": head + strings.Repeat("x", 2*maxHead), "half": head[:len(head)/2],
		"unsigned": text + "\n\n", "of later blocks": longer.make(t).image[headName], "of another ledger": other.make(t).image[headName],
		"of another key": foreign.make(t).image[headName], "of a fork": fork.make(t).image[headName],
		"signed twice":                 head + sig,
		"signed by a stranger as well": head + "— stranger.example " + base64.StdEncoding.EncodeToString(make([]byte, 68)) + "\n",
		"signed with a bad second":     head + sig[:len(sig)-10] + "AAAAAAAA=\n",
		"an id with a space":           strings.ReplaceAll(head, f.id, "0123456789abcdef 123456789abcdef"),
		"an id with a plus":            strings.ReplaceAll(head, f.id, "0123456789abcdef+123456789abcdef"),
		"a long id":                    strings.ReplaceAll(head, f.id, f.id+"00"),
		"a short id":                   strings.ReplaceAll(head, f.id, f.id[2:]),
		"no id":                        strings.ReplaceAll(head, f.id, ""),
		"CRLF":                         strings.ReplaceAll(head, "\n", "\r\n"),
		"no line end":                  strings.TrimSuffix(head, "\n"),
		"a line more behind":           head + "\n",
		"an extension":                 forge(text + "\nmore\n"),
		"a size with a zero":           forge(lines[0] + "\n0" + lines[1] + "\n" + hash + "\n"),
		"a size with a sign":           forge(lines[0] + "\n+" + lines[1] + "\n" + hash + "\n"),
		"a size that is none":          forge(lines[0] + "\nx\n" + hash + "\n"),
		"a size beyond all":            forge(lines[0] + "\n9007199254740993\n" + hash + "\n"),
		"no size":                      forge(lines[0] + "\n" + hash + "\n"),
		"a short root":                 forge(lines[0] + "\n" + lines[1] + "\n" + hash[4:] + "\n"),
		"a loose root":                 forge(lines[0] + "\n" + lines[1] + "\n" + loosened(hash) + "\n"),
		"another origin":               forge("carl.camp/ledger/" + strings.Repeat("f", 32) + "\n" + lines[1] + "\n" + hash + "\n"),
		"nothing in it":                forge(lines[0] + "\n0\n" + tlog.Hash(sha256.Sum256(nil)).String() + "\n"),
		"another root":                 forge(lines[0] + "\n" + lines[1] + "\n" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n"),
		"an origin in capitals":        forge(strings.ToUpper(lines[0]) + "\n" + lines[1] + "\n" + hash + "\n"),
	} {
		g.refused(t, "a head with "+what, g.with(headName, h))
	}
	g.refused(t, "no head", g.without(headName))
	opener := g.lines[0][0]
	g.refused(t, "no head, and a torn end", image{activeName: opener + "{torn", keyName: g.image[keyName]})
	g.refused(t, "no head, and another line", image{activeName: opener + "\n", keyName: g.image[keyName]})
	g.refused(t, "no head, and a closed file", image{activeName: g.image[activeName], g.names[2]: g.image[g.names[2]], keyName: g.image[keyName]})
	g.refused(t, "no head and no edge", g.without(headName).without(edgeName))
	g.refused(t, "no head and no open file", g.without(headName).without(activeName))
	begun := ordinary()
	begun.files[3] = nil
	g.refused(t, "no head, and a file just begun", begun.make(t).without(headName))
	other.covered = 3
	g.refused(t, "another ledger's older head", g.with(headName, other.make(t).image[headName]))
	g.refused(t, "a head, and no block and no key", image{headName: head})
	g.refused(t, "a head, and no block", image{headName: head, keyName: g.image[keyName]})
	g.refused(t, "a head and an edge, and no block", image{headName: head, edgeName: g.image[edgeName], keyName: g.image[keyName]})
	// An older head is legal, since it may be what a power cut left.
	for covered := uint64(1); covered < 13; covered++ {
		older := ordinary()
		older.covered = covered
		h := older.make(t).image[headName]
		if r, err := verifyImage(t, g.with(headName, h)); err != nil || r.Head != covered || r.Size != 13 {
			t.Errorf("head of %d: %+v, %v", covered, r, err)
		}
		g.goesOn(t, fmt.Sprintf("head of %d", covered), g.with(headName, h))
	}
}

// loosened is base64 of the same bytes, in a form that no encoder writes.
func loosened(b64 string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	at := strings.Index(b64, "=") - 1
	return b64[:at] + string(digits[strings.IndexByte(digits, b64[at])^1]) + b64[at+1:]
}

// refused has verification and an append refuse files, and leave them as they are.
func (g *genuine) refused(t *testing.T, what string, im image) {
	t.Helper()
	fsys := im.disk(t)
	l := ledgerOn(fsys, 0)
	if r, err := l.Verify(t.Context(), nil); fault.CodeOf(err) != fault.LedgerTampered {
		t.Errorf("%s: %+v, %v", what, r, err)
	}
	if b, err := decide(l, "next"); fault.CodeOf(err) != fault.LedgerTampered {
		t.Errorf("%s: appended %v, %v", what, b != nil, err)
	}
	if after := take(t, fsys, modelHome); !maps.Equal(after, im) {
		t.Errorf("%s: the files were changed: %v", what, slices.Sorted(maps.Keys(after)))
	}
}
