// Package sync ships what the spool holds to the destinations: at least once
// on the wire, once by id.
//
// # One destination
//
// Each destination has a lane of its own, which reads the spool at its own
// pace; a slow or dead destination holds up no other. A lane works in windows
// of some thousand steps:
//
//  1. Read steps in spool order, from where the destination's state ends.
//     Steps that it must not get are settled at once: see Consent below.
//  2. Map them, at most [MaxBatchSteps] and [MaxBatchBytes] a call, and seal
//     what comes of them: id, envelope, redaction (package axon). A step that
//     cannot be mapped becomes a dead letter, see [Map].
//  3. Store the events, byte for byte, in the destination's inflight file.
//     From here on their bytes are fixed: they are sent exactly so however
//     often it takes, across restarts, changed mappers and changed rules.
//  4. Deliver them. Each event ends as accepted, as a dead letter, or stays
//     pending.
//  5. Save the dead letters, then the state, then the inflight file with what
//     is pending. A kill between any two of these repeats work and sends some
//     events again under the same id with the same bytes; it loses none.
//
// Pending events are sent again in the next window, ahead of new ones, so that
// a destination that puts off one event for ever still gets all the others.
//
// # What a destination's answers do
//
//	accepted, duplicate          acknowledged
//	rejected (an event)          dead letter
//	conflict                     dead letter, and a line in the log at level error
//	retry                        stays pending; the lane goes on, then backs off
//	unavailable                  back off, never for less than it asked ([MaxRetryAfter])
//	unauthorized, misconfigured  the destination is paused until [Resume]
//	too-large, rejected (batch)  the batch is halved, down to the single event: dead letter
//	a fault of the plugin        nothing is settled; back off; from the third time in a
//	                             row on the batch is halved, so that an event that
//	                             fells the plugin holds up no other
//
// Blocks of the ledger have lanes of their own. They become no dead letters, and
// nothing goes ahead of them: what would be a dead letter, and a conflict, pause
// the destination's ledger, behind the last block that was acknowledged. A
// destination that asks for an earlier block gets the ledger from there again. A
// delivery must be answered within half the time that is left to a Run; what is
// not is sent block by block, so that each answer counts.
//
// # Consent
//
// What can reach the network gets only steps recorded under the consent that
// is in force now: their epoch is not 0 and is the granted one. It is checked
// when a step is read, when an inflight file is found, and before each
// delivery. A destination that cannot reach the network gets every step.
package sync

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	gosync "sync"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/ledger"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/redact"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/world"
)

const (
	// MaxBatchSteps and MaxBatchBytes bound what one call of a mapper or a
	// forwarder gets, so that it fits the memory of a plugin several times over.
	MaxBatchSteps = 256
	MaxBatchBytes = 4 << 20

	// maxLanes bounds the destinations that are served at one time: each holds
	// a window and two plugins in memory.
	maxLanes = 16
)

// Forwarder delivers events to one destination. Its errors are
// [*world.Failure] where the destination failed, and any other where the
// plugin did. It is called from one goroutine at a time.
type Forwarder interface {
	Open(ctx context.Context, settings []byte) error
	Deliver(ctx context.Context, topic world.Topic, events []world.Event) ([]world.Outcome, error)
}

// Destination is one place that events go to.
type Destination struct {
	// Name is unique, and legal by [spool.ValidName].
	Name string
	// Ledger says that the destination gets the blocks of the ledger, NoSignals
	// that it gets no signals.
	Ledger, NoSignals bool
	// Network says that the forwarder can reach the network, and so needs consent.
	Network bool
	// Settings is the JSON text that the forwarder is opened with.
	Settings []byte
	// LedgerSettings is the same for blocks that are signed with a key, member x of
	// its JWK; nil takes Settings.
	LedgerSettings func(key string) ([]byte, error)
	// Login says that `carl camp login` mends a refusal of the credentials.
	Login bool
	// Load loads the plugins. It is called only when there is something to
	// map or to send, at most once a Run; the Closer is closed at its end.
	Load func(ctx context.Context) (Mapper, Forwarder, io.Closer, error)
	// LoadForwarder loads the forwarder alone, for the ledger.
	LoadForwarder func(ctx context.Context) (Forwarder, io.Closer, error)
	// LoadMapper loads the mapper alone, for counting; may be nil.
	LoadMapper func(ctx context.Context) (Mapper, io.Closer, error)
}

// Task is other work under the sync lock, such as refreshing the entitlements.
type Task struct {
	Name string
	Run  func(ctx context.Context) error
}

// Options says what to ship, and how. Functions in it may be called from
// several goroutines, except Progress and Log, whose calls are serialized.
type Options struct {
	Spool *spool.Spool
	// Lock is the path of the sync lock: one sync a home at one time.
	Lock string
	// Source is the CloudEvents source of everything that is sent.
	Source string
	// Redactor goes over what mappers return and what plugins say; nil redacts nothing.
	Redactor *redact.Redactor
	// Consent reports whether events may go to the network now, and the epoch
	// of that consent. Nil means no consent.
	Consent func() (granted bool, epoch uint32)
	// Consented reports whether the user has consented, whatever keeps carl from
	// sending at this moment, such as being offline: what is kept of the ledger for
	// a destination is kept by that. Nil takes what Consent says.
	Consented func() bool
	// Withheld and WithheldHint say why consent is not there, and what gives
	// it; "" for the usual words.
	Withheld, WithheldHint string

	// Ledger is what destinations with Ledger get; nil for none.
	Ledger *ledger.Ledger
	// AtOnce has the ledger sent now, whatever a destination asked carl to wait,
	// and once: a Run does not wait for the end of a back-off.
	AtOnce bool

	Destinations []Destination
	// Tasks run beside the destinations, under the same lock.
	Tasks []Task
	// Exact asks for reports that count pending events by mapping the steps
	// that wait, see [DestinationStatus].
	Exact bool

	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log gets lines for people and logs; nil drops them.
	Log func(level world.LogLevel, message string)
	// Progress is told how many events a destination has acknowledged since
	// Run began; may be nil.
	Progress func(destination string, acknowledged int)
}

func (o *Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

func (o *Options) consent() (granted bool, epoch uint32) {
	if o.Consent == nil {
		return false, 0
	}
	granted, epoch = o.Consent()
	return granted && epoch != 0, epoch
}

// consented is whether the user has consented to anything being sent, ever.
func (o *Options) consented() bool {
	if o.Consented == nil {
		granted, _ := o.consent()
		return granted
	}
	return o.Consented()
}

func (o *Options) find(name string) (*Destination, error) {
	for i := range o.Destinations {
		if o.Destinations[i].Name == name {
			return &o.Destinations[i], nil
		}
	}
	return nil, fault.New(fault.SyncUnknownDestination, "no destination %q is configured", name)
}

// Run ships once: what the spool held when it began, to every destination that
// is neither paused nor disabled. It waits out a back-off only where that ends
// before the deadline of ctx, so that a Run without a deadline never waits;
// where plugins could not be loaded it waits for nothing, since what kept them
// from it may be mended by now. When ctx is done it stops, and leaves where it
// is what is not acknowledged.
//
// When another sync holds the lock, Run does nothing and reports Busy.
//
// What a destination does is in the report and no error. An error is carl's own
// trouble, such as a full disk; the report is valid beside it.
func Run(ctx context.Context, o Options) (Report, error) {
	done, err := run(ctx, o, runMode{letters: true, mended: true})
	if done.busy || done.view == nil {
		report, statusErr := Status(ctx, o)
		report.Busy = done.busy
		return report, joined(err, statusErr)
	}
	report, statusErr := done.view.report(ctx)
	report.Tasks = done.tasks
	return report, joined(err, statusErr)
}

// runMode is how a lane is loaded.
type runMode struct {
	mended   bool // try again at once what failed for a reason that lay here, and may be mended
	letters  bool // look for dead letters to try again, and count the others
	readOnly bool // change nothing about the lane
	unlocked bool // the sync lock is not held: leave alone what is in flight
}

// outcome is what one run did.
type outcome struct {
	busy   bool // another one held the lock
	worked bool // something was tried or settled
	tasks  []TaskStatus
	view   *view // what there was to report at the end; nil for a round of a watch
}

func run(ctx context.Context, o Options, mode runMode) (outcome, error) {
	lock, ok, err := tryLock(ctx, o.Lock)
	if err != nil || !ok {
		return outcome{busy: err == nil}, err
	}
	defer lock.Unlock()

	o.serialize()
	var trouble errorList
	trouble.add(reportLosses(&o))

	var lanes []*lane
	var blocks []*blockLane
	places := make(chan struct{}, maxLanes)
	var work gosync.WaitGroup
	start := func(run func(context.Context, runMode) error) {
		work.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			trouble.add(run(ctx, mode))
		})
	}
	for i := range o.Destinations {
		d := &o.Destinations[i]
		if !d.NoSignals {
			l := newLane(&o, d)
			lanes = append(lanes, l)
			start(l.run)
		}
		if d.Ledger && o.Ledger != nil {
			l := newBlockLane(&o, d)
			blocks = append(blocks, l)
			start(l.run)
		}
	}
	done := outcome{tasks: make([]TaskStatus, len(o.Tasks))}
	for i, task := range o.Tasks {
		work.Go(func() {
			done.tasks[i] = TaskStatus{Name: task.Name, Err: task.Run(ctx)}
		})
	}
	work.Wait()

	for _, l := range lanes {
		done.worked = done.worked || l.worked
	}
	for _, l := range blocks {
		done.worked = done.worked || l.worked
	}
	trouble.add(trim(&o))
	if len(blocks) > 0 {
		next, _ := Forwarded(o, o.Ledger.ID())
		trouble.add(o.Ledger.TrimPending(next))
	}
	if mode.letters {
		done.view = look(&o, false)
	}
	return done, trouble.join()
}

// serialize makes the callbacks safe to call from the lanes.
func (o *Options) serialize() {
	var mu gosync.Mutex
	if log := o.Log; log != nil {
		o.Log = func(level world.LogLevel, message string) {
			mu.Lock()
			defer mu.Unlock()
			log(level, message)
		}
	} else {
		o.Log = func(world.LogLevel, string) {}
	}
	if progress := o.Progress; progress != nil {
		o.Progress = func(destination string, acknowledged int) {
			mu.Lock()
			defer mu.Unlock()
			progress(destination, acknowledged)
		}
	} else {
		o.Progress = func(string, int) {}
	}
}

// statusTime is for how long the lock may be held by one who only looks.
const statusTime = 300 * time.Millisecond

// tryLock takes the lock, or reports that another sync has it.
func tryLock(ctx context.Context, path string) (*private.FileLock, bool, error) {
	if err := private.MkdirAll(filepath.Dir(path)); err != nil {
		return nil, false, err
	}
	if l, ok, err := private.TryLock(path); ok || err != nil {
		return l, ok, err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	l, err := private.Lock(ctx, path)
	if err != nil && ctx.Err() != nil {
		return nil, false, nil
	}
	return l, err == nil, err
}

// lock waits for the lock until ctx is done.
func lock(ctx context.Context, path string) (*private.FileLock, error) {
	if err := private.MkdirAll(filepath.Dir(path)); err != nil {
		return nil, err
	}
	l, err := private.Lock(ctx, path)
	if err != nil && ctx.Err() != nil {
		return nil, fault.New(fault.SyncBusy, "another sync is at work, and did not end in time: %w", err)
	}
	return l, err
}

// trim removes from the spool what every destination is done with.
func trim(o *Options) error {
	var names []string
	for _, d := range o.Destinations {
		if !d.NoSignals {
			names = append(names, d.Name)
		}
	}
	_, err := o.Spool.Trim(names...)
	return err
}

// errorList collects the errors of several goroutines.
type errorList struct {
	mu   gosync.Mutex
	errs []error // guarded by mu
}

// add keeps an error once: what several parts of a run meet is one trouble.
func (l *errorList) add(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.ContainsFunc(l.errs, func(e error) bool { return e.Error() == err.Error() }) {
		l.errs = append(l.errs, err)
	}
}

// joined is an error of all that are not nil, each once.
func joined(errs ...error) error {
	var l errorList
	for _, err := range errs {
		l.add(err)
	}
	return l.join()
}

func (l *errorList) join() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errs) == 1 {
		return l.errs[0]
	}
	return errors.Join(l.errs...)
}
