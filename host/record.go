package host

import (
	"fmt"
	"io"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/step"
)

const (
	// batchBytes and batchSteps bound what one write to the spool carries: large
	// enough that the system call does not count, small enough that a reader
	// of the spool sees a long import move.
	batchBytes = 256 << 10
	batchSteps = 256
	// audienceAge is how long a look at consent serves. Consent is asked again
	// when a step is sent, so a step recorded in that second leaves no sooner.
	audienceAge = time.Second
)

// audience is who receives what is recorded now. It is guarded by Host.mu.
type audience struct {
	host *Host

	checked time.Time
	anyone  bool
	epoch   uint32
}

// now reports whether some destination receives what is recorded now, and
// under which epoch of consent; 0 is for destinations that cannot reach the
// network.
func (a *audience) now() (anyone bool, epoch uint32) {
	if !a.checked.IsZero() && time.Since(a.checked) < audienceAge {
		return a.anyone, a.epoch
	}
	a.anyone, a.epoch = false, 0
	state, err := a.host.home.Consent().State(a.host.environ)
	if err != nil {
		a.host.log.Warn("consent cannot be read, so none is given", "error", err)
	}
	if err == nil && state.Granted {
		a.epoch = state.Epoch
	}
	for i := range a.host.config.Destinations {
		d := &a.host.config.Destinations[i]
		if receivesSignals(d) && (a.epoch > 0 || !a.host.reachesNetwork(d)) {
			a.anyone = true
			break
		}
	}
	a.checked = time.Now()
	return a.anyone, a.epoch
}

// Record records one step: it is completed (id, time), held to the Step's
// rules, redacted, and in the spool when Record returns nil. A step that no
// destination would receive, for want of consent or of destinations, is not
// kept, and that is no error.
//
// Errors are carl.step.invalid, carl.spool.failed and carl.home.unusable; the
// step was not recorded then.
func (h *Host) Record(s step.Step) error {
	if err := s.Validate(); err != nil {
		return err
	}
	s.Complete(time.Now())
	h.redactor.Step(&s)
	payload := s.AppendJSON(nil)
	if err := checkSize(len(payload)); err != nil {
		return err
	}
	if _, err := h.append([][]byte{payload}); err != nil {
		return err
	}
	h.notify(s)
	return nil
}

// checkSize refuses what a sync could not read again: redaction may make a
// step longer than it came.
func checkSize(n int) error {
	if n > step.MaxRecorded {
		return fault.New(fault.StepInvalid, "the step is %d bytes long once redacted, and may be %d", n, step.MaxRecorded)
	}
	return nil
}

// openWriter takes a slot of the spool on first use; h.mu is held.
func (h *Host) openWriter() error {
	if h.writer != nil {
		return nil
	}
	if err := h.home.Create(); err != nil {
		return err
	}
	w, err := h.spool.Writer()
	if err != nil {
		return err
	}
	h.writer = w
	return nil
}

// notify shows a recorded step to the callback, and survives it.
func (h *Host) notify(s step.Step) {
	if h.onStep == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			h.log.Warn("the step callback panicked; the step is recorded", "step", s.ID, "panic", fmt.Sprint(r))
		}
	}()
	if err := h.onStep(s); err != nil {
		h.log.Warn("the step callback failed; the step is recorded", "step", s.ID, "error", err)
	}
}

// Recording says what [Host.RecordLines] did.
type Recording struct {
	// Recorded steps are in the spool, or were valid while nobody would have
	// received them: then Discarded counts them.
	Recorded, Rejected, Discarded int
	// UnknownMembers were ignored; names only, redacted.
	UnknownMembers []string
}

// RecordLines records a stream of lines, each one Step. A line that is not a
// valid step goes to reject, with an error that names its number, and never
// stops the others; rejects, when not nil, gets a copy of the line. What was
// read is in the spool before r is asked for more, so that a stream that goes
// on for days is recorded as it comes. The error is of reading, of writing
// rejects, or of the spool; what Recording counts as recorded is recorded in
// any case.
func (h *Host) RecordLines(r io.Reader, rejects io.Writer, reject func(error)) (Recording, error) {
	var done Recording
	batch := &batch{host: h, done: &done}
	d := step.NewDecoder(flushFirst{r, batch})
	refused := &tolerant{to: rejects}
	if rejects != nil {
		d.RejectTo(refused)
	}
	err := batch.all(d, reject)
	if err == nil && refused.err != nil {
		err = fault.New(fault.IO, "the rejected lines could not be written: %w", refused.err)
	}
	for _, name := range d.UnknownMembers() {
		done.UnknownMembers = append(done.UnknownMembers, h.redactor.String(name))
	}
	return done, err
}

// flushFirst spools what was read before it reads more: the next read may wait
// for long, or be the last thing that the process does.
type flushFirst struct {
	from  io.Reader
	batch *batch
}

func (f flushFirst) Read(p []byte) (int, error) {
	if err := f.batch.flush(); err != nil {
		return 0, err
	}
	return f.from.Read(p)
}

// tolerant keeps the first error of writing and takes everything else: lines
// that cannot be set aside must not stop those that can be recorded.
type tolerant struct {
	to  io.Writer
	err error
}

func (t *tolerant) Write(p []byte) (int, error) {
	if t.err == nil {
		_, t.err = t.to.Write(p)
	}
	return len(p), nil
}

// batch gathers encoded steps for one write.
type batch struct {
	host     *Host
	done     *Recording
	buf      []byte
	ends     []int
	payloads [][]byte
	steps    []step.Step // clones, for the callback alone
	err      error       // of the spool; nothing is spooled after it
}

// all records every step of d.
func (b *batch) all(d *step.Decoder, reject func(error)) error {
	for {
		s, err := d.Next()
		if err == nil {
			err = b.add(&s)
			if fault.CodeOf(err) == fault.StepInvalid {
				err = fault.New(fault.StepInvalid, "line %d: %w", d.Line(), err)
			}
		}
		switch {
		case err == nil:
		case b.err != nil:
			return b.err
		case fault.CodeOf(err) == fault.StepInvalid:
			b.done.Rejected++
			reject(err)
		case err == io.EOF:
			return b.flush()
		default:
			if ferr := b.flush(); ferr != nil {
				return ferr
			}
			return err
		}
	}
}

func (b *batch) add(s *step.Step) error {
	s.Complete(time.Now())
	b.host.redactor.Step(s)
	start := len(b.buf)
	b.buf = s.AppendJSON(b.buf)
	if err := checkSize(len(b.buf) - start); err != nil {
		b.buf = b.buf[:start]
		return err
	}
	b.ends = append(b.ends, len(b.buf))
	if b.host.onStep != nil {
		b.steps = append(b.steps, s.Clone())
	}
	if len(b.ends) < batchSteps && len(b.buf) < batchBytes {
		return nil
	}
	return b.flush()
}

// flush appends what was gathered, with one write.
func (b *batch) flush() error {
	if len(b.ends) == 0 || b.err != nil {
		return b.err
	}
	b.payloads = b.payloads[:0]
	start := 0
	for _, end := range b.ends {
		b.payloads = append(b.payloads, b.buf[start:end])
		start = end
	}
	n := len(b.ends)
	kept, err := b.host.append(b.payloads)
	b.buf, b.ends = b.buf[:0], b.ends[:0]
	if err != nil {
		b.steps, b.err = b.steps[:0], err
		return err
	}
	b.done.Recorded += n
	if !kept {
		b.done.Discarded += n
	}
	for _, s := range b.steps {
		b.host.notify(s)
	}
	b.steps = b.steps[:0]
	return nil
}

// append spools encoded steps, and reports whether anybody receives them.
func (h *Host) append(payloads [][]byte) (kept bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false, fault.New(fault.SpoolFailed, "the host is closed").WithKept("the steps were not recorded")
	}
	anyone, epoch := h.audience.now()
	if !anyone {
		return false, nil
	}
	if err := h.openWriter(); err != nil {
		return false, err
	}
	if err := h.writer.Append(epoch, payloads...); err != nil {
		return false, err
	}
	select {
	case h.recorded <- struct{}{}:
	default:
	}
	return true, nil
}
