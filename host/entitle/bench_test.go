package entitle

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// benched is one token as the platform issues it, and its parts.
type benched struct {
	verifier *Verifier
	token    string
	input    []byte // what is signed
	sig      []byte
}

func newBenched(b *testing.B) benched {
	b.Helper()
	token := platform.token(today, map[string]any{"entitlements": []any{
		map[string]any{"key": "train.slime.managed", "granted_at": "2026-11-01T00:00:00Z", "expires_at": "2027-11-01T00:00:00Z"},
		map[string]any{"key": "ledger.receipts", "granted_at": "2026-11-01T00:00:00Z"},
	}})
	i := strings.LastIndexByte(token, '.')
	sig, err := base64.RawURLEncoding.DecodeString(token[i+1:])
	if err != nil {
		b.Fatal(err)
	}
	return benched{campVerifier(b), token, []byte(token[:i]), sig}
}

func (f benched) raw(b *testing.B) {
	if !ed25519.Verify(platform.public(), f.input, f.sig) {
		b.Fatal("refused")
	}
}

// jose is what the library alone checks: the form, the header and the signature.
func (f benched) jose(b *testing.B) {
	jws, err := jose.ParseSignedCompact(f.token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err == nil {
		_, err = jws.Verify(platform.public())
	}
	if err != nil {
		b.Fatal(err)
	}
}

func (f benched) full(b *testing.B) {
	if _, err := f.verifier.Verify(f.token, today); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkVerify(b *testing.B) {
	f := newBenched(b)
	for _, c := range []struct {
		name string
		run  func(*testing.B)
	}{{"raw", f.raw}, {"jose", f.jose}, {"token", f.full}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.run(b)
			}
		})
	}
}

// BenchmarkVerifyRatio measures all checks against the one that cannot be
// spared, in turns: what else the machine does is the same for both.
func BenchmarkVerifyRatio(b *testing.B) {
	f := newBenched(b)
	var raw, lib, full time.Duration
	turn := func(sum *time.Duration, run func(*testing.B)) {
		began := time.Now()
		for range 8 {
			run(b)
		}
		*sum += time.Since(began)
	}
	for b.Loop() {
		turn(&raw, f.raw)
		turn(&lib, f.jose)
		turn(&full, f.full)
	}
	b.ReportMetric(float64(full)/float64(raw), "x-raw")
	b.ReportMetric(float64(lib)/float64(raw), "x-raw-jose")
}

func BenchmarkParseKeySet(b *testing.B) {
	data := jwks(platform, platform2)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseKeySet(data); err != nil {
			b.Fatal(err)
		}
	}
}
