package spool

import (
	"cmp"
	"slices"
)

// Range is the numbers From ≤ n < To of a slot.
type Range struct {
	Slot     int
	From, To uint64
}

func (r Range) valid() bool {
	return r.Slot >= 0 && r.Slot < MaxSlots && r.From >= 1 && r.From < r.To && r.To <= maxSeq
}

// span is the numbers from ≤ n < to of one slot. In JSON it is [from,to].
type span [2]uint64

// maxSpans bounds the separate ranges that are kept for one slot. A batch that
// a destination takes in part makes at most as many as it has events.
const maxSpans = 4096

// progress is what is settled of one slot: all numbers up to mark, and the
// spans, which are above mark+1, ascending and apart from each other.
type progress struct {
	mark  uint64
	spans []span
}

// settle adds from ≤ n < to.
func (p *progress) settle(from, to uint64) {
	from, to = max(from, 1), min(to, maxSeq)
	if from >= to || to-1 <= p.mark {
		return
	}
	// The spans that the new one touches or overlaps melt into it.
	i, _ := slices.BinarySearchFunc(p.spans, from, func(s span, from uint64) int { return cmp.Compare(s[1], from) })
	j := i
	for j < len(p.spans) && p.spans[j][0] <= to {
		from, to = min(from, p.spans[j][0]), max(to, p.spans[j][1])
		j++
	}
	p.spans = slices.Replace(p.spans, i, j, span{from, to})
	if p.spans[0][0] <= p.mark+1 {
		p.mark = p.spans[0][1] - 1
		p.spans = slices.Delete(p.spans, 0, 1)
	}
	if len(p.spans) > maxSpans {
		p.spans = p.spans[:maxSpans]
	}
}

// covers reports whether all of from ≤ n < to is settled.
func (p *progress) covers(from, to uint64) bool {
	if p == nil {
		return from >= to
	}
	if from = max(from, p.mark+1); from >= to {
		return true
	}
	i, _ := slices.BinarySearchFunc(p.spans, from, func(s span, from uint64) int { return cmp.Compare(s[1], from+1) })
	return i < len(p.spans) && p.spans[i][0] <= from && to <= p.spans[i][1]
}

// end is above every settled number.
func (p *progress) end() uint64 {
	if n := len(p.spans); n > 0 {
		return p.spans[n-1][1]
	}
	return p.mark + 1
}

// waiting counts the numbers from ≤ n < to that are not settled.
func (p *progress) waiting(from, to uint64) uint64 {
	from = max(from, p.mark+1)
	if from >= to {
		return 0
	}
	n := to - from
	for _, s := range p.spans {
		if lo, hi := max(s[0], from), min(s[1], to); lo < hi {
			n -= hi - lo
		}
	}
	return n
}

func (p *progress) valid() bool {
	if p.mark >= maxSeq || len(p.spans) > maxSpans {
		return false
	}
	above := p.mark + 1
	for _, s := range p.spans {
		if s[0] <= above || s[1] <= s[0] || s[1] > maxSeq {
			return false
		}
		above = s[1]
	}
	return true
}
