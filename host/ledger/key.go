package ledger

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	// maxKeyFile bounds the key file; with all its previous keys it has a few kilobytes.
	maxKeyFile = 64 << 10
	// maxKeysEver bounds how many keys a ledger can have had.
	maxKeysEver = 512
)

// keyFile is keys/ledger.key.
type keyFile struct {
	V      int       `json:"v"`
	Seed   string    `json:"seed"`
	MadeAt time.Time `json:"made_at"`
	// NextSeed is that of the key that a rotation under way goes to.
	NextSeed string `json:"next_seed,omitzero"`
	// Previous are the public keys that signed before this one, the oldest first.
	Previous []string `json:"previous,omitzero"`
}

// keys are the key that signs and the public keys of all blocks.
type keys struct {
	private ed25519.PrivateKey
	id      string
	next    ed25519.PrivateKey // nil without a rotation under way
	public  map[string]ed25519.PublicKey
	file    keyFile
}

// keyID is the JWK thumbprint of a public key (RFC 7638, RFC 8037).
func keyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// signs reports whether a key is the one that signs, or the next one of a rotation
// under way.
func (k *keys) signs(id string) bool {
	return id == k.id || k.next != nil && id == keyID(k.next.Public().(ed25519.PublicKey))
}

// loadKeys reads the key file; nil where there is none.
func (l *Ledger) loadKeys() (*keys, error) {
	data, err := private.ReadFileOn(l.fs, l.paths.Key, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k := new(keys)
	if err := private.ParseJSON(data, &k.file); err != nil {
		var later *private.TooNewError
		if errors.As(err, &later) {
			return nil, fault.New(fault.HomeTooNew, "%s: %w", l.paths.Key, err).WithHint("%s", later.Use)
		}
		return nil, keyInvalid(l.paths.Key)
	}
	seed, err := base64.RawURLEncoding.Strict().DecodeString(k.file.Seed)
	if err != nil || len(seed) != ed25519.SeedSize || len(k.file.Previous) > maxKeysEver {
		return nil, keyInvalid(l.paths.Key)
	}
	k.private = ed25519.NewKeyFromSeed(seed)
	public := k.private.Public().(ed25519.PublicKey)
	k.id = keyID(public)
	k.public = map[string]ed25519.PublicKey{k.id: public}
	if k.file.NextSeed != "" {
		seed, err := base64.RawURLEncoding.Strict().DecodeString(k.file.NextSeed)
		if err != nil || len(seed) != ed25519.SeedSize {
			return nil, keyInvalid(l.paths.Key)
		}
		k.next = ed25519.NewKeyFromSeed(seed)
		public := k.next.Public().(ed25519.PublicKey)
		k.public[keyID(public)] = public
	}
	for _, x := range k.file.Previous {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(x)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return nil, keyInvalid(l.paths.Key)
		}
		k.public[keyID(raw)] = raw
	}
	return k, nil
}

func keyInvalid(path string) error {
	return fault.New(fault.LedgerKeyInvalid, "ledger: %s is damaged", path).
		WithKept("it was left as it is, and nothing was signed").
		WithHint("restore %s from a copy; without it no block can follow those that it signed", path)
}

// makeKeys makes the first key.
func (l *Ledger) makeKeys() (*keys, error) {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails: see crypto/rand
	if err := l.writeKeys(&keyFile{V: 1, Seed: base64.RawURLEncoding.EncodeToString(seed), MadeAt: l.now().Truncate(time.Second)}); err != nil {
		return nil, err
	}
	return l.loadKeys()
}

func (l *Ledger) writeKeys(f *keyFile) error {
	if err := private.MkdirAllOn(l.fs, filepath.Dir(l.paths.Key)); err != nil {
		return err
	}
	data, err := private.FormatJSON(f)
	if err != nil {
		return err
	}
	return private.WriteFileOn(l.fs, l.paths.Key, data)
}

// firstKeys makes the key of a ledger without a block, or makes sure that the one
// that is there, which a writer may have left before its flush, stays.
func (l *Ledger) firstKeys(t *tail) (err error) {
	if t.keys == nil {
		t.keys, err = l.makeKeys()
	} else {
		err = l.writeKeys(&t.keys.file)
	}
	if err == nil {
		err = l.fs.SyncDir(filepath.Dir(filepath.Dir(l.paths.Key)))
	}
	return err
}

// RotateKey makes a new key, and records in a block that both keys sign that it
// follows on the old one. The new key is on disk before that block is, and the
// old one signs until then; what a crash leaves is brought to its end by the next
// append.
//
// Every block is verified before: with the old key gone, nothing could go on behind
// a block of its time.
//
// The error is carl.ledger.not_found before the first block, and
// carl.ledger.tampered where the ledger is not whole.
func (l *Ledger) RotateKey(ctx context.Context) (*Block, error) {
	if _, err := l.fs.Lstat(l.paths.active()); notThere(err) && !l.begun() {
		return nil, noKeyYet()
	}
	lock, err := l.takeLock()
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	t, err := l.load()
	l.tail = nil
	if err != nil {
		return nil, err
	}
	defer t.close()
	if t.empty() {
		return nil, noKeyYet()
	}
	if err := l.verifyLocked(ctx); err != nil {
		return nil, err
	}
	if len(t.keys.file.Previous) >= maxKeysEver {
		return nil, fault.New(fault.LedgerFailed, "ledger: it has had %d keys, and can have no more", maxKeysEver+1).WithKept("the key stays")
	}
	// Also one that is there already, whose flush may have failed.
	file := t.keys.file
	if t.keys.next == nil {
		seed := make([]byte, ed25519.SeedSize)
		rand.Read(seed) // never fails: see crypto/rand
		file.NextSeed = base64.RawURLEncoding.EncodeToString(seed)
	}
	if err := l.writeKeys(&file); err != nil {
		return nil, err
	}
	if t.keys, err = l.loadKeys(); err != nil {
		return nil, err
	}
	rotation := &KeyRotation{NewKey: t.keys.next.Public().(ed25519.PublicKey)}
	now := l.now()
	b, _, _ := t.next(rotation, now)
	copy(rotation.NewSig[:], ed25519.Sign(t.keys.next, append([]byte(signPrefix), b.appendUnsigned(nil, true)...)))
	b, line, hash := t.next(rotation, now)
	t.push(b, hash)
	line = append(line, '\n')
	if err := l.flush(t, &line); err != nil {
		return nil, err
	}
	return b, l.adoptNext(t.keys)
}

// verifyLocked verifies all blocks under the lock.
func (l *Ledger) verifyLocked(ctx context.Context) error {
	v, err := l.openFiles()
	if err != nil {
		return err
	}
	defer v.close()
	if v.headErr != nil {
		return v.headErr
	}
	beside, err := l.beside()
	if err != nil {
		return err
	}
	return l.verify(ctx, &walk{view: v, beside: beside, report: &Report{}}, nil)
}

func noKeyYet() error {
	return fault.New(fault.LedgerNotFound, "ledger: there is no key yet: nothing was recorded").
		WithHint("`carl fsm adopt FILE` makes the key and the first block")
}

// adoptNext makes the next key the one that signs.
func (l *Ledger) adoptNext(k *keys) error {
	file := k.file
	file.Previous = append(file.Previous[:len(file.Previous):len(file.Previous)], base64.RawURLEncoding.EncodeToString(k.private.Public().(ed25519.PublicKey)))
	file.Seed, file.NextSeed, file.MadeAt = file.NextSeed, "", l.now().Truncate(time.Second)
	return l.writeKeys(&file)
}

// origin is the name of a ledger's checkpoints, and of the key that signs them.
func origin(ledgerID string) string { return "carl.camp/ledger/" + ledgerID }

// signer signs notes with the ledger's key: a C2SP signed note with an Ed25519
// key of algorithm 1.
type signer struct {
	name string
	hash uint32
	key  ed25519.PrivateKey
}

func newSigner(name string, key ed25519.PrivateKey) *signer {
	return &signer{name, noteKeyHash(name, key.Public().(ed25519.PublicKey)), key}
}

func (s *signer) Name() string                    { return s.name }
func (s *signer) KeyHash() uint32                 { return s.hash }
func (s *signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

// noteKeyHash is the first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key).
func noteKeyHash(name string, public ed25519.PublicKey) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n\x01"), public...))
	return binary.BigEndian.Uint32(sum[:])
}

// VerifierKey is a public key of a ledger in the form of C2SP signed notes.
func VerifierKey(ledgerID string, public ed25519.PublicKey) string {
	vkey, err := note.NewEd25519VerifierKey(origin(ledgerID), public)
	if err != nil {
		// The name is hex behind a constant, and the key has its length.
		panic("ledger: " + err.Error())
	}
	return vkey
}

// Key is the public key that a ledger signs with.
type Key struct {
	LedgerID string
	// ID is the JWK thumbprint, X the member x of the JWK, VerifierKey the form of
	// C2SP signed notes.
	ID, X, VerifierKey string
}

// Key returns the public key that signs. The error is carl.ledger.not_found
// before the first block.
func (l *Ledger) Key() (*Key, error) {
	v, err := l.view()
	if err != nil {
		return nil, err
	}
	defer v.close()
	if v.keys == nil || v.head == nil {
		return nil, noKeyYet()
	}
	public := v.keys.private.Public().(ed25519.PublicKey)
	return &Key{v.head.ledgerID, v.keys.id, base64.RawURLEncoding.EncodeToString(public), VerifierKey(v.head.ledgerID, public)}, nil
}
