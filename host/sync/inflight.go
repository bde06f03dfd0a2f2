package sync

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/world"
)

// place is what an event settles once it has its final answer: a record of
// the spool, or a dead letter that is tried again.
type place struct {
	slot       int
	first, seq uint64
	letter     string // the dead letter's id; "" for a record
}

func (p place) pos() spool.Pos { return spool.Pos{Slot: p.slot, Seq: p.seq} }

func recordPlace(e spool.Entry) place { return place{slot: e.Slot, first: e.First, seq: e.Seq} }

// flying is an event whose bytes are fixed and which has no final answer yet.
type flying struct {
	world.Event
	epoch    uint32    // consent under which the step was recorded
	attempts int       // deliveries that were tried
	since    time.Time // when its bytes were fixed
	places   []place   // at least one; more where a step was recorded twice
	done     bool      // it got its final answer in this window
	putOff   bool      // it was put off in this window, by itself
}

// The inflight file holds events as
//
//	"carl-inflight/1\n" count { topic id type subject time epoch attempts since
//	                            places { 0 slot first seq | 1 letter } body }
//
// where numbers are unsigned varints, and strings have their length before
// them. The spool guards it with a checksum.
const inflightMagic = "carl-inflight/1\n"

// encodeFlight writes the flight into the room that b has, or into more.
func encodeFlight(b []byte, topic world.Topic, flight []*flying) *spool.Inflight {
	size := len(inflightMagic) + 16
	for _, f := range flight {
		// Enough for the numbers and one place; more places make it grow.
		size += len(f.ID) + len(f.Type) + len(f.Subject) + len(f.Body) + 96
	}
	b = append(slices.Grow(b[:0], size), inflightMagic...)
	b = binary.AppendUvarint(b, uint64(len(flight)))
	var covered []spool.Range
	for _, f := range flight {
		b = binary.AppendUvarint(b, uint64(topic))
		b = appendText(b, f.ID)
		b = appendText(b, f.Type)
		b = appendText(b, f.Subject)
		b = binary.AppendUvarint(b, f.Time)
		b = binary.AppendUvarint(b, uint64(f.epoch))
		b = binary.AppendUvarint(b, uint64(f.attempts))
		b = binary.AppendUvarint(b, uint64(f.since.UnixNano()))
		b = binary.AppendUvarint(b, uint64(len(f.places)))
		for _, p := range f.places {
			if p.letter != "" {
				b = binary.AppendUvarint(b, 1)
				b = appendText(b, p.letter)
				continue
			}
			b = binary.AppendUvarint(b, 0)
			b = binary.AppendUvarint(b, uint64(p.slot))
			b = binary.AppendUvarint(b, p.first)
			b = binary.AppendUvarint(b, p.seq)
			covered = appendRange(covered, p)
		}
		b = appendText(b, f.Body)
	}
	return &spool.Inflight{Entries: covered, Data: b}
}

// appendRange adds the numbers of a record, to the last range where it goes on from there.
func appendRange(ranges []spool.Range, p place) []spool.Range {
	if n := len(ranges) - 1; n >= 0 && ranges[n].Slot == p.slot && p.first <= ranges[n].To && ranges[n].From <= p.first {
		ranges[n].To = max(ranges[n].To, p.seq+1)
		return ranges
	}
	return append(ranges, spool.Range{Slot: p.slot, From: p.first, To: p.seq + 1})
}

func appendText[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeFlight reads what encodeFlight wrote. Bodies alias data.
func decodeFlight(topic world.Topic, data []byte) ([]*flying, error) {
	r := flightReader{rest: data}
	if len(data) < len(inflightMagic) || string(data[:len(inflightMagic)]) != inflightMagic {
		return nil, fault.New(fault.HomeTooNew, "the batch in flight was not written by this version of carl")
	}
	r.rest = data[len(inflightMagic):]
	var flight []*flying
	for range r.count() {
		f := new(flying)
		if r.number() != uint64(topic) {
			r.err = errFlight
		}
		f.ID = string(r.text())
		f.Type = string(r.text())
		f.Subject = string(r.text())
		f.Time = r.number()
		f.epoch = uint32(r.number())
		f.attempts = int(uint32(r.number()))
		f.since = time.Unix(0, int64(r.number())).UTC()
		for range r.count() {
			var p place
			switch r.number() {
			case 0:
				p.slot = int(uint32(r.number()))
				p.first, p.seq = r.number(), r.number()
			case 1:
				p.letter = string(r.text())
			default:
				r.err = errFlight
			}
			f.places = append(f.places, p)
		}
		f.Body = r.text()
		if r.err != nil {
			break
		}
		flight = append(flight, f)
	}
	if r.err != nil || len(r.rest) > 0 {
		return nil, fault.New(fault.HomeCorrupt, "the batch in flight is damaged")
	}
	return flight, nil
}

var errFlight = errors.New("damaged")

// flightReader reads numbers and strings until the first that is not there.
type flightReader struct {
	rest []byte
	err  error
}

func (r *flightReader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if r.err != nil || size <= 0 {
		r.err = errFlight
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// count reads how many things follow. Each takes a byte at least, so that a
// damaged count cannot ask for more than the file holds.
func (r *flightReader) count() uint64 {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.err = errFlight
		return 0
	}
	return n
}

func (r *flightReader) text() []byte {
	n := r.count()
	if r.err != nil {
		return nil
	}
	s := r.rest[:n:n]
	r.rest = r.rest[n:]
	return s
}
