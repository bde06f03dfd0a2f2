package train

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	// maxTries and patience bound how often and how long one command asks the
	// platform to start a run.
	maxTries = 5
	patience = time.Minute
	// firstPause is what is waited after the first try; each further one doubles it.
	firstPause = time.Second
	// keyPatience is how long another command that submits the same is waited for.
	keyPatience = 2 * time.Minute
)

// Platform is where runs are started and followed.
type Platform interface {
	SubmitRun(ctx context.Context, body []byte, key string) (run camp.Run, created bool, err error)
	Run(ctx context.Context, id string) (camp.Run, error)
}

// Payload is the body of a submission (API.md, "Training runs").
func (p *Plan) Payload() []byte {
	var b []byte
	quote := func(s string) {
		// The contract lets nothing through that is not UTF-8.
		b, _ = jsontext.AppendQuote(b, s)
	}
	b = append(b, `{"args":`...)
	b = append(b, p.Args...)
	b = append(b, `,"argv":[`...)
	for i, arg := range p.Argv {
		if i > 0 {
			b = append(b, ',')
		}
		quote(arg)
	}
	b = append(b, `],"backend":`...)
	quote(p.Backend)
	b = append(b, `,"config_digest":`...)
	quote(p.ConfigDigest)
	return append(b, '}')
}

// SubmitOptions say how a run is submitted.
type SubmitOptions struct {
	// Keys is the folder in which the idempotency key of a submission waits for a
	// definite answer.
	Keys string
	// Platform tells submissions to several platforms apart; each platform tells its
	// accounts apart itself.
	Platform string
	// Key is the idempotency key; "" makes one.
	Key string
	// Trying is called before each further try, with why the last one failed and how
	// long is waited; nil is not called.
	Trying func(err error, pause time.Duration)

	pause time.Duration // firstPause; tests shorten it
}

// Submitted is a run that was started.
type Submitted struct {
	camp.Run
	// Earlier says that the run was started before, under the same key: by a
	// command whose answer was lost, or with a key that was given twice.
	Earlier bool

	kept *keptKey
}

// Settle forgets the key of the run: the next submission of the same starts another.
// It is for when somebody has been told of the run; until then, a command that is
// repeated finds this one.
func (s *Submitted) Settle() error { return s.kept.settle(false) }

// SubmitError is a submission that failed.
type SubmitError struct {
	// Doubt says that a run may have been started all the same, by a request of this
	// command or of one before it under the same key.
	Doubt bool
	// Err is the *[camp.CallError] of the last request, or that of the context.
	Err error
}

func (e *SubmitError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *SubmitError) Unwrap() error { return e.Err }

// Submit starts a run on the platform. Whatever happens on the way, one key starts one
// run: a key that was made here is on disk before the first request, and is used
// again by the next submission of the same payload until the platform has given a
// definite answer, of which [Submitted.Settle] says that it was heard.
//
// It tries again where the platform cannot be reached or is in trouble, at most five
// times within a minute. The error is a *[SubmitError] for the caller to put into
// words, or a *[fault.Error] of the key's file or of an idempotency key that is none.
func Submit(ctx context.Context, p Platform, body []byte, o SubmitOptions) (*Submitted, error) {
	kept := &keptKey{key: o.Key}
	if o.Key == "" {
		var err error
		if kept, err = keep(ctx, o.Keys, o.Platform, body); err != nil {
			return nil, err
		}
		defer kept.lock.Unlock()
	}
	first := o.pause
	if first == 0 {
		first = firstPause
	}
	// Whether some request under this key may have started the run unheard.
	doubt := kept.waiting
	began := time.Now()
	for try := 1; ; try++ {
		run, created, err := p.SubmitRun(ctx, body, kept.key)
		if err == nil {
			return &Submitted{run, !created, kept}, nil
		}
		var call *camp.CallError
		if !errors.As(err, &call) {
			return nil, err
		}
		doubt = doubt || !call.Definite
		if !doubt && !passing(call) {
			if serr := kept.settle(true); serr != nil {
				return nil, serr
			}
		}
		pause := max(first<<(try-1), call.RetryAfter)
		if !passing(call) || try == maxTries || time.Since(began)+pause > patience {
			return nil, &SubmitError{doubt, err}
		}
		if o.Trying != nil {
			o.Trying(err, pause)
		}
		select {
		case <-ctx.Done():
			return nil, &SubmitError{doubt, ctx.Err()}
		case <-time.After(pause):
		}
	}
}

// passing reports whether a failure may be gone in a while.
func passing(e *camp.CallError) bool {
	switch e.Failure {
	case camp.FailNetwork, camp.FailUnavailable, camp.FailThrottled:
		return true
	}
	return false
}

// keptKey is a key on disk that has had no definite answer, and the lock that keeps
// others from submitting the same meanwhile.
type keptKey struct {
	key string
	// waiting says that an earlier command asked under this key.
	waiting bool
	path    string // "" for a key that is the user's to keep
	// lock is held while it is submitted under the key.
	lock     *private.FileLock
	lockPath string
}

// read is the key in the file, "" where there is none, or what is none.
func (k *keptKey) read() (string, error) {
	data, err := private.ReadFile(k.path, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var f keyFile
	if err != nil || private.ParseJSON(data, &f) != nil || len(f.Key) != 32 {
		return "", err
	}
	return f.Key, nil
}

// keyFile is the key of one payload.
type keyFile struct {
	V      int       `json:"v"`
	Key    string    `json:"key"`
	MadeAt time.Time `json:"made_at"`
}

// maxKeyFile bounds that file, in bytes.
const maxKeyFile = 4 << 10

// keep returns the key of a payload: the one that waits for an answer, or a new one
// that is on disk.
func keep(ctx context.Context, folder, platform string, body []byte) (*keptKey, error) {
	if err := private.MkdirAll(folder); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte(strconv.Quote(platform)+"\n"), body...))
	name := filepath.Join(folder, hex.EncodeToString(sum[:16]))
	within, cancel := context.WithTimeout(ctx, keyPatience)
	defer cancel()
	// One of 256 locks: they stay, and one for each run ever would be many.
	lockPath := filepath.Join(folder, hex.EncodeToString(sum[:1])+".lock")
	lock, err := private.Lock(within, lockPath)
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return nil, fault.New(fault.SubmitFailed, "another carl process has been submitting the same run for %v", keyPatience).
				WithKept("this one sent nothing").WithHint("wait for it, or end it; then run the same command again")
		}
		return nil, err
	}
	k := &keptKey{path: name + ".json", lock: lock, lockPath: lockPath}
	if k.key, err = k.read(); err != nil {
		lock.Unlock()
		return nil, err
	}
	if k.waiting = k.key != ""; k.waiting {
		return k, nil
	}
	var raw [16]byte
	rand.Read(raw[:]) // never fails: see crypto/rand
	k.key = hex.EncodeToString(raw[:])
	data, err := private.FormatJSON(&keyFile{V: 1, Key: k.key, MadeAt: time.Now().UTC().Truncate(time.Second)})
	if err == nil {
		err = private.WriteFile(k.path, data)
	}
	if err != nil {
		lock.Unlock()
		return nil, err
	}
	return k, nil
}

// settle forgets the key under its lock, unless it is another one by now: somebody
// else settled it, and has begun anew.
func (k *keptKey) settle(locked bool) error {
	if k.path == "" {
		return nil
	}
	if !locked {
		ctx, cancel := context.WithTimeout(context.Background(), keyPatience)
		defer cancel()
		lock, err := private.Lock(ctx, k.lockPath)
		if err != nil {
			return err
		}
		defer lock.Unlock()
	}
	if key, err := k.read(); err != nil || key != k.key {
		return err
	}
	if err := os.Remove(k.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.IO, "the idempotency key that was used cannot be removed: %w", err).
			WithHint("remove %s: with it the next submission of the same config finds this run again", k.path)
	}
	return nil
}
