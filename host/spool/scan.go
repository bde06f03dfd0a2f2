package spool

import (
	"bytes"
	"errors"
	"io"

	"carl.camp/carl/host/private"
)

const (
	// scanChunk is how much of a segment is read at a time: a quarter of a
	// segment keeps both the system calls and the memory of a scan few.
	scanChunk = 256 << 10
	// maxSegmentFile is the longest segment that Append can make. What stands
	// beyond it in a file is not ours and not read.
	maxSegmentFile = SegmentSize + MaxBatch
	// maxCandidates bounds how many places with a magic are checked after
	// damaged bytes in one scan. Text holds no magic, so real damage needs a
	// handful; each check may cost a checksum over MaxPayload.
	maxCandidates = 4096
)

// scanner reads the frames of one segment file in order and steps over damage.
//
// Numbers in a segment are consecutive, but for damage: so a frame's number is
// above the one before it and, since no frame is shorter than minFrame, not
// above what its offset leaves room for.
type scanner struct {
	file  private.File
	first uint64 // the segment's first number
	store []byte // what buf is a part of
	buf   []byte // file content from off on; at most maxFrame and a chunk
	off   int64  // offset of buf[0], the read position
	eof   bool   // buf reaches the end of the file
	next  uint64 // lowest legal number of the next frame
	// damaged is told each span of bytes that is followed by a valid frame.
	// It may be nil.
	damaged    func(from, to int64)
	candidates int
}

func newScanner(f private.File, first uint64) *scanner {
	return &scanner{file: f, first: first, next: first}
}

// seek goes on at an offset where a frame numbered next or above begins.
func (s *scanner) seek(off int64, next uint64) {
	s.off, s.next, s.buf, s.eof = off, next, nil, false
}

// errTail says that no valid frame follows. What remains from off on is a tail:
// empty, still being written, torn, or damaged.
var errTail = errors.New("no frame follows")

// frame returns the next valid frame, whose payload is valid until the next
// call, and its offset. It returns errTail at the end; calling it again then
// looks whether more has been written.
func (s *scanner) frame() (frame, int64, error) {
	fr, ok, err := s.here()
	if err != nil {
		return frame{}, 0, err
	}
	if !ok {
		at := s.off
		if err := s.resync(); err != nil {
			s.seek(at, s.next)
			return frame{}, 0, err
		}
		// Between our reads of the damaged bytes and of the frame behind them,
		// the slot's next owner may have cut a torn tail and written anew in
		// its place. Writes become visible in order, so what is at the place
		// now is what stays.
		found := s.off
		s.seek(at, s.next)
		if fr, ok, err = s.here(); err != nil {
			return frame{}, 0, err
		}
		if !ok {
			if s.damaged != nil {
				s.damaged(at, found)
			}
			s.seek(found, s.next)
			if fr, ok, err = s.here(); err != nil {
				return frame{}, 0, err
			}
			if !ok {
				return frame{}, 0, errTail
			}
		}
	}
	at := s.off
	s.advance(fr.size())
	s.next = fr.seq + 1
	return fr, at, nil
}

// here parses at the read position, with as much of the file as a frame takes.
func (s *scanner) here() (frame, bool, error) {
	for {
		fr, v := parseFrame(s.buf)
		switch {
		case v == whole && s.fits(fr):
			return fr, true, nil
		case v == short && !s.eof:
			if err := s.fill(); err != nil {
				return frame{}, false, err
			}
		default:
			return frame{}, false, nil
		}
	}
}

func (s *scanner) fits(fr frame) bool {
	return fr.seq >= s.next && fr.seq-s.first <= uint64(s.off)/minFrame
}

// resync moves to the next place where a valid frame begins.
func (s *scanner) resync() error {
	s.skip(1)
	for {
		i := bytes.IndexByte(s.buf, magic[0])
		if i < 0 {
			s.skip(len(s.buf))
			if s.eof {
				return errTail
			}
			if err := s.fill(); err != nil {
				return err
			}
			continue
		}
		s.skip(i)
		_, ok, err := s.here()
		if err != nil || ok {
			return err
		}
		if s.candidates++; s.candidates > maxCandidates {
			return errTail
		}
		s.skip(1)
	}
}

func (s *scanner) skip(n int) { s.advance(min(n, len(s.buf))) }

func (s *scanner) advance(n int) {
	s.buf = s.buf[n:]
	s.off += int64(n)
}

// fill appends the next chunk of the file to buf.
func (s *scanner) fill() error {
	at := s.off + int64(len(s.buf))
	want := int(min(scanChunk, maxSegmentFile-at))
	if want <= 0 {
		s.eof = true
		return nil
	}
	if cap(s.store)-len(s.buf) < want || cap(s.store) == 0 {
		s.store = make([]byte, len(s.buf)+want)
	}
	s.store = s.store[:cap(s.store)]
	have := copy(s.store, s.buf)
	n, err := s.file.ReadAt(s.store[have:have+want], at)
	s.buf = s.store[:have+n]
	switch {
	case err == io.EOF:
		s.eof = true
	case err != nil:
		return err
	}
	return nil
}
