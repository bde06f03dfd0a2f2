package entitle

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"filippo.io/edwards25519"

	"carl.camp/carl/host/fault"
)

// smallOrder is the canonical encodings of the eight points of small order,
// found by multiplying a point with the order of the large subgroup.
func smallOrder(t testing.TB) [][]byte {
	t.Helper()
	// L, little-endian: 2^252 + 27742317777372353535851937790883648493.
	l, err := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	if err != nil {
		t.Fatal(err)
	}
	identity := edwards25519.NewIdentityPoint()
	for i := range 1000 {
		sum := sha256.Sum256([]byte("point " + strconv.Itoa(i)))
		p, err := new(edwards25519.Point).SetBytes(sum[:])
		if err != nil {
			continue
		}
		torsion := edwards25519.NewIdentityPoint()
		for bit := 255; bit >= 0; bit-- {
			torsion.Add(torsion, torsion)
			if l[bit/8]>>(bit%8)&1 == 1 {
				torsion.Add(torsion, p)
			}
		}
		if four := times(torsion, 4); four.Equal(identity) == 1 {
			continue // of order 1, 2 or 4
		}
		var list [][]byte
		for n := range 8 {
			list = append(list, times(torsion, n).Bytes())
		}
		return list
	}
	t.Fatal("no point of order 8 was found")
	return nil
}

func times(p *edwards25519.Point, n int) *edwards25519.Point {
	sum := edwards25519.NewIdentityPoint()
	for range n {
		sum.Add(sum, p)
	}
	return sum
}

// nonCanonical is every encoding that decodes to a point and is not the one
// that the point is written with: y as y+p, and the sign of an x that is 0.
func nonCanonical(t testing.TB) (list [][]byte, small int) {
	t.Helper()
	var tried [][]byte
	for y := range 19 { // p+18 is the last below 2^255
		raw := bytes.Repeat([]byte{0xff}, 32)
		raw[0], raw[31] = byte(0xed+y), 0x7f
		tried = append(tried, raw)
	}
	one := make([]byte, 32)
	one[0] = 1
	minusOne := bytes.Repeat([]byte{0xff}, 32)
	minusOne[0], minusOne[31] = 0xec, 0x7f
	tried = append(tried, one, minusOne)
	for _, raw := range tried {
		for _, sign := range []byte{0, 0x80} {
			raw := bytes.Clone(raw)
			raw[31] |= sign
			p, err := new(edwards25519.Point).SetBytes(raw)
			if err != nil || bytes.Equal(p.Bytes(), raw) {
				continue
			}
			list = append(list, raw)
			if times(p, 8).Equal(edwards25519.NewIdentityPoint()) == 1 {
				small++
			}
		}
	}
	return list, small
}

// noPoint is 32 bytes that no point is written with.
func noPoint(t testing.TB) []byte {
	t.Helper()
	for i := range 100 {
		sum := sha256.Sum256([]byte("no point " + strconv.Itoa(i)))
		if _, err := new(edwards25519.Point).SetBytes(sum[:]); err != nil {
			return sum[:]
		}
	}
	t.Fatal("each text is a point")
	return nil
}

func TestPublicKey(t *testing.T) {
	// The alphabets differ in - and _.
	var dashed signer
	for i := 0; !strings.ContainsAny(dashed.kid, "-_"); i++ {
		dashed = newSigner("k" + strconv.Itoa(i))
		dashed.kid = dashed.x()
	}
	good := platform.x()
	type row struct {
		name, x string
		want    bool
	}
	rows := []row{
		{"good", good, true},
		{"with - or _", dashed.x(), true},
		{"empty", "", false},
		{"one byte, as go-jose once took it", "AQ", false},
		{"31 bytes", b64(platform.public()[:31]), false},
		{"33 bytes", b64(append(bytes.Clone(platform.public()), 0)), false},
		{"64 bytes", b64(platform.private), false},
		{"padded", good + "=", false},
		{"alphabet of base64", base64.RawStdEncoding.EncodeToString(dashed.public()), false},
		{"hex", hex.EncodeToString(platform.public()), false},
		{"line feed for a character", good[:20] + "\n" + good[21:], false},
		{"line feed added", good[:20] + "\n" + good[20:], false},
		{"line feed for the last character", good[:42] + "\n", false},
		{"space", good[:42] + " ", false},
		{"space added", " " + good, false},
		{"no point", b64(noPoint(t)), false},
		{"zero", b64(make([]byte, 32)), false},
		{"ones", b64(bytes.Repeat([]byte{0xff}, 32)), false},
	}
	sloppy := 0
	for _, c := range alphabet {
		x := good[:42] + string(c)
		if raw, err := base64.RawURLEncoding.DecodeString(x); x != good && err == nil && bytes.Equal(raw, platform.public()) {
			rows = append(rows, row{"sloppy last character " + string(c), x, false})
			sloppy++
		}
	}
	if sloppy != 3 {
		t.Errorf("%d last characters with idle bits, want 3", sloppy)
	}
	weak := smallOrder(t)
	for _, raw := range weak {
		rows = append(rows, row{fmt.Sprintf("small order %x", raw), b64(raw), false})
	}
	slices.SortFunc(weak, bytes.Compare)
	if n := len(slices.CompactFunc(weak, bytes.Equal)); n != 8 {
		t.Errorf("%d points of small order, want 8", n)
	}
	odd, small := nonCanonical(t)
	if small != 6 || len(odd) <= small {
		t.Errorf("%d encodings that are not canonical, %d of them of small order, want 6", len(odd), small)
	}
	for _, raw := range odd {
		rows = append(rows, row{fmt.Sprintf("not canonical %x", raw), b64(raw), false})
	}
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			got, ok := parsePublicKey(c.x)
			if ok != c.want || ok && b64(got) != c.x || !ok && got != nil {
				t.Errorf("%x, %v", got, ok)
			}
			// The same key in a set is passed over, and alone makes none.
			element := `{"kty":"OKP","crv":"Ed25519","kid":"k","x":` + quote(c.x) + `}`
			set, err := ParseKeySet(setOf(element, platform2.jwk()))
			if err != nil || (set.find("k") != nil) != c.want || set.find(platform2.kid) == nil || slices.Contains(set.unusable, "k") == c.want {
				t.Errorf("%+v, %v", set, err)
			}
			if _, err := ParseKeySet(setOf(element)); !c.want {
				wantRefusal(t, err, CheckNoKey)
			}
			if _, err := ParseOfflineRoot(c.x); (err == nil) != c.want {
				t.Errorf("as an offline root: %v", err)
			}
			if _, err := ParseOfflineRoot(element); (err == nil) != c.want {
				t.Errorf("as an offline root's JWK: %v", err)
			}
		})
	}
}

// Why keys of small order are refused: one signature fits any message.
func TestSmallOrderKeyWouldVerifyAnything(t *testing.T) {
	forged := make([]byte, 64) // R is the identity, S is 0
	forged[0] = 1
	identity := forged[:32]
	for _, message := range []string{"", "one", "another"} {
		if !ed25519.Verify(identity, []byte(message), forged) {
			t.Fatal("Go's verifier refuses keys of small order by itself")
		}
	}
	_, err := ParseKeySet(setOf(`{"kty":"OKP","crv":"Ed25519","kid":"camp-1","x":"` + b64(identity) + `"}`))
	wantRefusal(t, err, CheckNoKey)
}

func TestKeySet(t *testing.T) {
	many := func(n int) []string {
		var list []string
		for i := range n {
			list = append(list, newSigner("k"+strconv.Itoa(i)).jwk())
		}
		return list
	}
	padded := func(size int) string {
		head := `{"keys":[` + platform.jwk() + `],"pad":"`
		return head + strings.Repeat("p", size-len(head)-2) + `"}`
	}
	rsa := func(kid string) string {
		return `{"kty":"RSA","kid":"` + kid + `","n":"` + strings.Repeat("A", 342) + `","e":"AQAB"}`
	}
	with := func(from, to string) string { return strings.Replace(platform.jwk(), from, to, 1) }
	c1, c2 := platform.jwk(), platform2.jwk()
	good := func(elements ...string) string { return string(setOf(elements...)) }
	for _, c := range []struct {
		name, set string
		want      Check // "" is accepted
		keys      string
		unusable  string
	}{
		{"one", good(c1), "", "camp-1", ""},
		{"two", good(c1, c2), "", "camp-1 camp-2", ""},
		{"two, the other way round", good(c2, c1), "", "camp-2 camp-1", ""},
		{"white space", " {\n\"keys\" :\t[ " + c1 + " ]\r\n}\n", "", "camp-1", ""},
		{"unknown members", `{"a":{"keys":[]},"keys":[` + c1 + `],"issuer":null}`, "", "camp-1", ""},
		{"Keys beside keys", `{"Keys":[` + c2 + `],"keys":[` + c1 + `]}`, "", "camp-1", ""},
		{"16", good(many(16)...), "", "k0 k1 k2 k3 k4 k5 k6 k7 k8 k9 k10 k11 k12 k13 k14 k15", ""},
		{"64 KiB", padded(64 << 10), "", "camp-1", ""},
		{"key with much else", good(platform.jwk(`,"pad":"` + strings.Repeat("p", 60<<10) + `"`)), "", "camp-1", ""},
		{"key with a private half", good(platform.jwk(`,"d":"` + b64(platform.private.Seed()) + `"`)), "", "camp-1", ""},
		{"key with unknown members", good(platform.jwk(`,"x5c":[],"exp":1,"key_ops":["verify"],"nested":{"kid":"camp-2"}`)), "", "camp-1", ""},
		{"names in other case beside", good(platform.jwk(`,"KID":"x","Use":"enc","ALG":"RS256","X":"AQ"`)), "", "camp-1", ""},
		{"use sig", good(platform.jwk(`,"use":"sig"`)), "", "camp-1", ""},
		{"use empty", good(platform.jwk(`,"use":""`)), "", "camp-1", ""},
		{"alg EdDSA", good(platform.jwk(`,"alg":"EdDSA"`)), "", "camp-1", ""},
		{"alg empty", good(platform.jwk(`,"alg":""`)), "", "camp-1", ""},
		{"two of one key", good(c1, newSignerFrom("other", "camp-1").jwk()), "", "camp-1 other", ""},
		{"kid of 128 bytes", good(newSigner(strings.Repeat("k", 128)).jwk()), "", strings.Repeat("k", 128), ""},
		{"kid of signs", good(newSigner("!\"#$/\\~").jwk()), "", "!\"#$/\\~", ""},
		{"kid escaped", good(with(`camp-1`, `c\u0061mp-1`)), "", "camp-1", ""},

		{"RSA beside", good(rsa("r"), c1), "", "camp-1", "r"},
		{"RSA behind", good(c1, rsa("r")), "", "camp-1", "r"},
		{"EC beside", good(`{"kty":"EC","crv":"P-256","kid":"e","x":"AA","y":"AA"}`, c1), "", "camp-1", "e"},
		{"EC of a broken curve beside", good(`{"kty":"EC","crv":"nonsense","kid":"e","x":5}`, c1), "", "camp-1", "e"},
		{"X25519 beside", good(newSigner("x").jwk(`,"n":1`), strings.Replace(platform2.jwk(), "Ed25519", "X25519", 1)), "", "x", "camp-2"},
		{"Ed448 beside", good(strings.Replace(platform2.jwk(), "Ed25519", "Ed448", 1), c1), "", "camp-1", "camp-2"},
		{"crv in other case", good(strings.Replace(platform2.jwk(), "Ed25519", "ed25519", 1), c1), "", "camp-1", "camp-2"},
		{"crv missing", good(strings.Replace(platform2.jwk(), `"crv":"Ed25519",`, "", 1), c1), "", "camp-1", "camp-2"},
		{"oct beside", good(`{"kty":"oct","kid":"o","k":"c2VjcmV0"}`, c1), "", "camp-1", "o"},
		{"AKP beside", good(`{"kty":"AKP","alg":"ML-DSA-65","kid":"a","pub":"AA"}`, c1), "", "camp-1", "a"},
		{"unknown kty beside", good(`{"kty":"future","kid":"f","z":[1]}`, c1), "", "camp-1", "f"},
		{"kty number", good(strings.Replace(platform2.jwk(), `"OKP"`, "1", 1), c1), "", "camp-1", "camp-2"},
		{"kty null", good(strings.Replace(platform2.jwk(), `"OKP"`, "null", 1), c1), "", "camp-1", "camp-2"},
		{"kty missing", good(strings.Replace(platform2.jwk(), `"kty":"OKP",`, "", 1), c1), "", "camp-1", "camp-2"},
		{"kty in other case", good(strings.Replace(platform2.jwk(), "OKP", "okp", 1), c1), "", "camp-1", "camp-2"},
		{"empty object beside", good(`{}`, c1), "", "camp-1", ""},
		{"use enc beside", good(platform2.jwk(`,"use":"enc"`), c1), "", "camp-1", "camp-2"},
		{"use SIG beside", good(platform2.jwk(`,"use":"SIG"`), c1), "", "camp-1", "camp-2"},
		{"use null beside", good(platform2.jwk(`,"use":null`), c1), "", "camp-1", "camp-2"},
		{"use list beside", good(platform2.jwk(`,"use":["sig"]`), c1), "", "camp-1", "camp-2"},
		{"alg RS256 beside", good(platform2.jwk(`,"alg":"RS256"`), c1), "", "camp-1", "camp-2"},
		{"alg Ed25519 beside", good(platform2.jwk(`,"alg":"Ed25519"`), c1), "", "camp-1", "camp-2"},
		{"alg number beside", good(platform2.jwk(`,"alg":-8`), c1), "", "camp-1", "camp-2"},
		{"x number beside", good(strings.Replace(platform2.jwk(), `"`+platform2.x()+`"`, "1", 1), c1), "", "camp-1", "camp-2"},
		{"x missing beside", good(`{"kty":"OKP","crv":"Ed25519","kid":"camp-2"}`, c1), "", "camp-1", "camp-2"},
		{"endorsement number beside", good(platform2.jwk(`,"endorsement":1`), c1), "", "camp-1", "camp-2"},
		{"kid missing beside", good(`{"kty":"OKP","crv":"Ed25519","x":"`+platform2.x()+`"}`, c1), "", "camp-1", ""},
		{"kid empty beside", good(newSigner("").jwk(), c1), "", "camp-1", ""},
		{"kid number beside", good(strings.Replace(c2, `"camp-2"`, "2", 1), c1), "", "camp-1", ""},
		{"kid null beside", good(strings.Replace(c2, `"camp-2"`, "null", 1), c1), "", "camp-1", ""},
		{"kid of 129 bytes beside", good(newSigner(strings.Repeat("k", 129)).jwk(), c1), "", "camp-1", strings.Repeat("k", 129)},
		{"kid with a space beside", good(newSigner("a b").jwk(), c1), "", "camp-1", "a b"},
		{"kid of a line feed beside", good(newSigner("a\n").jwk(), c1), "", "camp-1", "a\n"},
		{"kid with a NUL beside", good(newSigner("a\x00").jwk(), c1), "", "camp-1", "a\x00"},
		{"kid with DEL beside", good(newSigner("a\x7f").jwk(), c1), "", "camp-1", "a\x7f"},
		{"kid beyond ASCII beside", good(newSigner("ä").jwk(), c1), "", "camp-1", "ä"},
		{"two kids that are empty", good(newSigner("").jwk(), newSignerFrom("", "b").jwk(), c1), "", "camp-1", ""},

		{"kid twice", good(c1, c1), CheckDuplicate, "", ""},
		{"kid twice, and another behind", good(c1, c1, c2), CheckDuplicate, "", ""},
		{"kid twice, apart", good(c1, c2, rsa("r"), thief.jwk()), CheckDuplicate, "", ""},
		{"kid twice, escaped", good(c1, with(`camp-1`, `c\u0061mp-1`)), CheckDuplicate, "", ""},
		{"kid twice, the first unusable", good(rsa("camp-1"), c1), CheckDuplicate, "", ""},
		{"kid twice, the last unusable", good(c1, rsa("camp-1")), CheckDuplicate, "", ""},
		{"kid twice, unusable and apart", good(rsa("camp-1"), c2, rsa("r"), c1), CheckDuplicate, "", ""},
		{"kid twice, both unusable", good(rsa("r"), c1, rsa("r")), CheckDuplicate, "", ""},
		{"kid twice, one of use enc", good(c1, platform.jwk(`,"use":"enc"`)), CheckDuplicate, "", ""},
		{"kid twice, of which one has a form that is wrong", good(c1, `{"kid":"camp-1","kty":1}`), CheckDuplicate, "", ""},

		{"17", good(many(17)...), CheckTooMany, "", ""},
		{"17 of which one is usable", good(append(slices.Repeat([]string{`{}`}, 16), c1)...), CheckTooMany, "", ""},
		{"thousands", good(slices.Repeat([]string{`{}`}, 20000)...), CheckTooMany, "", ""},

		{"more than 64 KiB", padded(64<<10 + 1), CheckKeySet, "", ""},
		{"more than 64 KiB of white space", good(c1) + strings.Repeat(" ", 64<<10), CheckKeySet, "", ""},
		{"empty", "", CheckKeySet, "", ""},
		{"white space alone", " ", CheckKeySet, "", ""},
		{"not JSON", "<html>", CheckKeySet, "", ""},
		{"null", "null", CheckKeySet, "", ""},
		{"list", "[" + c1 + "]", CheckKeySet, "", ""},
		{"one key, no set", c1, CheckKeySet, "", ""},
		{"text", `"keys"`, CheckKeySet, "", ""},
		{"no keys", `{}`, CheckKeySet, "", ""},
		{"Keys", `{"Keys":[` + c1 + `]}`, CheckKeySet, "", ""},
		{"keys null", `{"keys":null}`, CheckKeySet, "", ""},
		{"keys object", `{"keys":{"0":` + c1 + `}}`, CheckKeySet, "", ""},
		{"keys text", `{"keys":"` + platform.x() + `"}`, CheckKeySet, "", ""},
		{"keys twice", `{"keys":[` + c1 + `],"keys":[` + c2 + `]}`, CheckKeySet, "", ""},
		{"keys twice, escaped", `{"keys":[` + c1 + `],"k\u0065ys":[` + c2 + `]}`, CheckKeySet, "", ""},
		{"list of names and values", `["keys",[` + c1 + `]]`, CheckKeySet, "", ""},
		{"element that is a list of names and values", good(`["kty","OKP","crv","Ed25519","kid","a","x","` + platform.x() + `"]`), CheckKeySet, "", ""},
		{"element null", good(c1, "null"), CheckKeySet, "", ""},
		{"element text", good(c1, `"k"`), CheckKeySet, "", ""},
		{"element number", good("1", c1), CheckKeySet, "", ""},
		{"element list", good(c1, "["+c2+"]"), CheckKeySet, "", ""},
		{"member of a key twice", good(platform.jwk(`,"x":"` + platform2.x() + `"`)), CheckKeySet, "", ""},
		{"member of a key twice, escaped", good(platform.jwk(`,"\u0078":"` + platform2.x() + `"`)), CheckKeySet, "", ""},
		{"twice in what is passed over", good(c1, `{"kty":"future","n":{"a":1,"a":1}}`), CheckKeySet, "", ""},
		{"twice beside keys", `{"keys":[` + c1 + `],"n":{"a":1,"a":1}}`, CheckKeySet, "", ""},
		{"comma at the end", `{"keys":[` + c1 + `,]}`, CheckKeySet, "", ""},
		{"cut", `{"keys":[` + c1 + `]`, CheckKeySet, "", ""},
		{"cut in a key", `{"keys":[` + c1[:20], CheckKeySet, "", ""},
		{"trailing data", good(c1) + "{}", CheckKeySet, "", ""},
		{"trailing NUL", good(c1) + "\x00", CheckKeySet, "", ""},
		{"byte order mark", "\ufeff" + good(c1), CheckKeySet, "", ""},
		{"invalid UTF-8", good(platform.jwk(",\"n\":\"\xff\"")), CheckKeySet, "", ""},
		{"deep", `{"keys":[` + c1 + `],"n":` + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + `}`, CheckKeySet, "", ""},

		{"no elements", `{"keys":[]}`, CheckNoKey, "", ""},
		{"RSA alone", good(rsa("r")), CheckNoKey, "", ""},
		{"empty objects", good(`{}`, `{}`), CheckNoKey, "", ""},
		{"kid missing", good(with(`"kid":"camp-1",`, "")), CheckNoKey, "", ""},
		{"use enc", good(platform.jwk(`,"use":"enc"`)), CheckNoKey, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := ParseKeySet([]byte(c.set))
			if c.want != "" {
				if set != nil {
					t.Error("a refused set was returned")
				}
				wantRefusal(t, err, c.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, k := range set.keys {
				ids = append(ids, k.id)
				if !bytes.Equal(set.find(k.id), k.public) || len(k.public) != 32 {
					t.Errorf("%q is not found", k.id)
				}
			}
			if got := strings.Join(ids, " "); got != c.keys {
				t.Errorf("keys %q, want %q", got, c.keys)
			}
			if got := strings.Join(set.unusable, ","); got != c.unusable {
				t.Errorf("unusable %q, want %q", got, c.unusable)
			}
			for _, kid := range append(set.unusable, "", "nobody's") {
				if set.find(kid) != nil {
					t.Errorf("%q is found", kid)
				}
			}
		})
	}
}

func TestKeySetWithWeakKeysAlone(t *testing.T) {
	odd, _ := nonCanonical(t)
	var elements []string
	for i, raw := range append(smallOrder(t), odd[:8]...) {
		elements = append(elements, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"w%d","x":"%s"}`, i, b64(raw)))
	}
	_, err := ParseKeySet(setOf(elements...))
	wantRefusal(t, err, CheckNoKey)
	set, err := ParseKeySet(setOf(append(elements[1:], platform.jwk())...))
	if err != nil || len(set.keys) != 1 || len(set.unusable) != 15 {
		t.Errorf("%+v, %v", set, err)
	}
}

func TestOfflineRoot(t *testing.T) {
	x := offline.x()
	for _, c := range []struct {
		name, text string
		want       bool
	}{
		{"x", x, true},
		{"JWK", offline.jwk(), true},
		{"least JWK", `{"kty":"OKP","crv":"Ed25519","x":"` + x + `"}`, true},
		{"JWK with more", offline.jwk(`,"use":"sig","alg":"EdDSA","n":{}`), true},
		{"private JWK", offline.jwk(`,"d":"` + b64(offline.private.Seed()) + `"`), false},
		{"private JWK, escaped", offline.jwk(`,"\u0064":"` + b64(offline.private.Seed()) + `"`), false},
		{"d null", offline.jwk(`,"d":null`), false},
		{"empty", "", false},
		{"space around", " " + x + " ", false},
		{"line feed", x + "\n", false},
		{"hex", hex.EncodeToString(offline.public()), false},
		{"PEM", "-----BEGIN PUBLIC KEY-----", false},
		{"quoted", `"` + x + `"`, false},
		{"list", "[" + offline.jwk() + "]", false},
		{"set", string(jwks(offline)), false},
		{"cut", offline.jwk()[:40], false},
		{"trailing data", offline.jwk() + "{}", false},
		{"list of names and values", `["kty","OKP","crv","Ed25519","x","` + x + `"]`, false},
		{"no kty", `{"crv":"Ed25519","x":"` + x + `"}`, false},
		{"no crv", `{"kty":"OKP","x":"` + x + `"}`, false},
		{"no x", `{"kty":"OKP","crv":"Ed25519"}`, false},
		{"x number", `{"kty":"OKP","crv":"Ed25519","x":1}`, false},
		{"x null", `{"kty":"OKP","crv":"Ed25519","x":null}`, false},
		{"kty number", `{"kty":1,"crv":"Ed25519","x":"` + x + `"}`, false},
		{"x twice", offline.jwk(`,"x":"` + platform.x() + `"`), false},
		{"kty twice", `{"kty":"OKP","kty":"OKP","x":"` + x + `"}`, false},
		{"X25519", strings.Replace(offline.jwk(), "Ed25519", "X25519", 1), false},
		{"EC", strings.Replace(offline.jwk(), "OKP", "EC", 1), false},
		{"kty and crv exchanged", `{"kty":"Ed25519","crv":"OKP","x":"` + x + `"}`, false},
		{"kty for both", `{"kty":"OKP","crv":"OKP","x":"` + x + `"}`, false},
		{"crv for both", `{"kty":"Ed25519","crv":"Ed25519","x":"` + x + `"}`, false},
		{"another use", offline.jwk(`,"use":"enc"`), false},
		{"another alg", offline.jwk(`,"alg":"RS256"`), false},
		{"invalid UTF-8", offline.jwk(",\"n\":\"\xff\""), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseOfflineRoot(c.text)
			if c.want {
				if err != nil || !got.Equal(offline.public()) {
					t.Errorf("%x, %v", got, err)
				}
				return
			}
			if got != nil || fault.CodeOf(err) != fault.ConfigInvalid || err.Error() != "offline_root is not an Ed25519 public key (carl.config.invalid)" {
				t.Errorf("%x, %v", got, err)
			}
			if secret := b64(offline.private.Seed()); strings.Contains(fault.HintOf(err), secret) {
				t.Error("the private key is echoed")
			}
		})
	}
}
