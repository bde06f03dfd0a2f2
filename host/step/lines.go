package step

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"carl.camp/carl/host/fault"
)

// Decoder reads steps from a stream of lines. A bad line is an error of its
// own and does not end the stream. A Decoder belongs to one goroutine.
type Decoder struct {
	from    io.Reader
	rejects io.Writer
	buf     []byte
	// buf[start:end] is read and not yet used.
	start, end int
	line       int
	readErr    error
	unknown    unknownNames
}

// firstBuffer is what a Decoder begins with: most streams hold short lines, and
// a read of this size is cheap for the system.
const firstBuffer = 64 << 10

// NewDecoder returns a Decoder that reads from r. It buffers at most one line
// of [MaxLine] bytes.
func NewDecoder(r io.Reader) *Decoder {
	return &Decoder{from: r, buf: make([]byte, firstBuffer)}
}

// RejectTo makes the decoder copy every line that it refuses to w, byte for
// byte, a line longer than [MaxLine] too, each with a line end.
func (d *Decoder) RejectTo(w io.Writer) { d.rejects = w }

// Line returns the number of the line that Next last read, counted from 1.
func (d *Decoder) Line() int { return d.line }

// UnknownMembers returns the names of members outside the Step's table that
// were seen so far, sorted: at most 32, long ones cut. They come from the
// input: redact them before showing them.
func (d *Decoder) UnknownMembers() []string { return slices.Clone(d.unknown.names) }

// Next reads the next step, skipping blank lines. A line ends with LF, CR LF or
// the end of the stream. The step's JSON members are valid until the next call.
//
// The error is io.EOF at the end of the stream. With the code
// carl.step.invalid it names the line, and the next call goes on behind it.
// Any other is an error of reading, or of writing rejects, and is final.
func (d *Decoder) Next() (Step, error) {
	for {
		line, long, err := d.next()
		if err != nil {
			return Step{}, err
		}
		if long {
			return Step{}, fault.New(fault.StepInvalid, "line %d: longer than %d bytes", d.line, MaxLine)
		}
		if len(bytes.Trim(line, " \t\r")) == 0 {
			continue
		}
		s, err := decode(line, &d.unknown)
		if err == nil {
			return s, nil
		}
		if err := d.reject(line, "\n"); err != nil {
			return Step{}, err
		}
		var f *fault.Error
		if errors.As(err, &f) {
			err = fault.New(f.Code, "line %d: %s", d.line, f.Message)
		}
		return Step{}, err
	}
}

// next returns the next line without its end, or long for one that was skipped.
func (d *Decoder) next() (line []byte, long bool, err error) {
	scanned := d.start
	for {
		if i := bytes.IndexByte(d.buf[scanned:d.end], '\n'); i >= 0 {
			line = d.buf[d.start : scanned+i]
			d.start = scanned + i + 1
			return d.whole(line)
		}
		scanned = d.end
		// Two bytes more than a line may have, for a CR that may prove to be
		// part of its end.
		if d.end-d.start > MaxLine+1 {
			return d.skip()
		}
		if d.readErr != nil {
			// What stands before an error may be half a line, and half a line
			// may be a step that nobody wrote.
			if d.start == d.end || d.readErr != io.EOF {
				return nil, false, d.readErr
			}
			line = d.buf[d.start:d.end]
			d.start = d.end
			return d.whole(line)
		}
		moved := d.fill()
		scanned -= moved
	}
}

// whole takes the CR off a line and checks its length.
func (d *Decoder) whole(line []byte) ([]byte, bool, error) {
	d.line++
	body := bytes.TrimSuffix(line, []byte("\r"))
	if len(body) > MaxLine {
		return nil, true, d.reject(line, "\n")
	}
	return body, false, nil
}

// skip drops a line that is too long, without keeping it.
func (d *Decoder) skip() ([]byte, bool, error) {
	d.line++
	for {
		chunk := d.buf[d.start:d.end]
		if i := bytes.IndexByte(chunk, '\n'); i >= 0 {
			d.start += i + 1
			return nil, true, d.reject(chunk[:i], "\n")
		}
		if err := d.reject(chunk, ""); err != nil {
			return nil, false, err
		}
		d.start, d.end = 0, 0
		if d.readErr != nil {
			return nil, true, d.reject(nil, "\n")
		}
		d.fill()
	}
}

func (d *Decoder) reject(line []byte, end string) error {
	if d.rejects == nil {
		return nil
	}
	_, err := d.rejects.Write(line)
	if err == nil && end != "" {
		_, err = io.WriteString(d.rejects, end)
	}
	if err != nil {
		return fault.New(fault.IO, "the rejected lines could not be written: %w", err)
	}
	return nil
}

// maxEmptyReads is how often in a row a reader may give neither bytes nor an
// error before it counts as broken, as in package bufio.
const maxEmptyReads = 100

// fill reads more behind what is there, and returns by how much it moved that
// to the front of the buffer.
func (d *Decoder) fill() (moved int) {
	if d.start > 0 {
		moved = d.start
		copy(d.buf, d.buf[d.start:d.end])
		d.start, d.end = 0, d.end-moved
	}
	if d.end == len(d.buf) {
		d.buf = append(d.buf, make([]byte, min(len(d.buf), MaxLine+firstBuffer-len(d.buf)))...)
	}
	for range maxEmptyReads {
		n, err := d.from.Read(d.buf[d.end:])
		if n < 0 || n > len(d.buf)-d.end {
			n, err = 0, errors.New("the reader returned an impossible count")
		}
		d.end += n
		switch {
		case err == io.EOF:
			d.readErr = io.EOF
		case err != nil:
			d.readErr = fault.New(fault.IO, "line %d could not be read: %w", d.line+1, err)
		}
		if n > 0 || err != nil {
			return moved
		}
	}
	d.readErr = fault.New(fault.IO, "line %d could not be read: %w", d.line+1, io.ErrNoProgress)
	return moved
}
