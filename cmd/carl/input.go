package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"carl.camp/carl/host/fault"
)

// openInput opens the file that an argument names, "-" for standard input.
// Reading ends with ctx's error once ctx is done.
func (a *app) openInput(ctx context.Context, name string) (*input, error) {
	if name == "-" {
		return newInput(ctx, io.NopCloser(a.stdin), a.stdin), nil
	}
	f, err := openWaiting(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.InputNotFound, "there is no file %q", name).WithKept("nothing was done")
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fault.New(fault.IO, "%w", err).WithKept("nothing was done")
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, fault.New(fault.Usage, "%q is a folder, not a file", name).WithKept("nothing was done")
	}
	return newInput(ctx, f, f), nil
}

// openWaiting opens a file. A pipe has nobody who writes into it yet, perhaps, and
// opening it waits: that is left behind when ctx ends.
func openWaiting(ctx context.Context, name string) (*os.File, error) {
	if info, err := os.Stat(name); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		return os.Open(name)
	}
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(name)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inputChunk is what is read at one time from what may keep its reader waiting.
const inputChunk = 64 << 10

// input is a stream to read from that an interrupt ends. A terminal or a pipe
// may have nothing to say for long, and no call ends a read that waits there:
// such a stream is read by a goroutine of its own, which is left behind.
type input struct {
	ctx  context.Context
	from io.ReadCloser
	info fs.FileInfo // nil where the stream is no file

	ask    chan struct{} // nil until a read that may wait
	answer chan chunk
	rest   chunk
}

// chunk is the answer to one ask.
type chunk struct {
	data []byte
	err  error
}

func newInput(ctx context.Context, from io.ReadCloser, what any) *input {
	in := &input{ctx: ctx, from: from}
	if f, ok := what.(*os.File); ok {
		in.info, _ = f.Stat() // without it the stream is read like a pipe
	}
	return in
}

// regular reports whether reading never waits for anybody.
func (in *input) regular() bool { return in.info != nil && in.info.Mode().IsRegular() }

func (in *input) Read(p []byte) (int, error) {
	if err := in.ctx.Err(); err != nil {
		return 0, err
	}
	if in.regular() {
		return in.from.Read(p)
	}
	if len(in.rest.data) == 0 && in.rest.err == nil {
		if in.ask == nil {
			in.ask, in.answer = make(chan struct{}, 1), make(chan chunk, 1)
			go in.readAhead()
		}
		in.ask <- struct{}{}
		select {
		case in.rest = <-in.answer:
		case <-in.ctx.Done():
			return 0, in.ctx.Err()
		}
	}
	n := copy(p, in.rest.data)
	in.rest.data = in.rest.data[n:]
	if len(in.rest.data) > 0 {
		return n, nil
	}
	return n, in.rest.err
}

// readAhead answers each ask with what one read gave. It owns its buffer
// between an ask and its answer.
func (in *input) readAhead() {
	buf := make([]byte, inputChunk)
	for range in.ask {
		n, err := in.from.Read(buf)
		in.answer <- chunk{buf[:n], err}
	}
}

func (in *input) Close() error { return in.from.Close() }

// sameFile reports whether f is the file that is read from.
func (in *input) sameFile(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && in.info != nil && os.SameFile(info, in.info)
}
