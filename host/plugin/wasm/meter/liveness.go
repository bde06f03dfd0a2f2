package meter

import "math/bits"

// liveness counts the values of locals that wazero's compiler may keep on the
// stack. It makes a value for each assignment, and one at each place where ways
// through the function meet, for each local that is read afterwards. Such a
// value stays in a register unless a call comes before its last use, or more
// values are in use than there are registers.
type liveness struct {
	words int // of 64 locals, for each block
	// What each block does to the values that its locals hold at its head:
	read    []uint64 // read before they are assigned
	late    []uint64 // likewise, after a call
	written []uint64 // assigned
	// What follows from that:
	live  []uint64 // read from here on before they are assigned
	cross []uint64 // likewise, with a call before
	calls []bool   // by block

	pending, candidates []uint64 // see count

	visited int64 // words looked at, over all functions
}

// crowd adds to the weight of every block where ways meet with many values in
// use: the compiled code moves each of them there, though no instruction says so, and a
// guest could make a slice of fuel last a thousand times as long as another.
func (lv *liveness) crowd(f *flow, locals int) {
	if locals <= crowded || f.sets == 0 {
		return
	}
	lv.values(f, locals)
	for i := range f.blocks {
		b := &f.blocks[i]
		if b.preds <= 1 && !b.header {
			continue
		}
		live := min(locals, f.sets)
		if len(f.blocks)*lv.words <= maxLiveness {
			live = 0
			for word := range lv.words {
				live += bits.OnesCount64(lv.live[i*lv.words+word])
			}
		}
		b.weight += int64(max(live-crowded, 0))
	}
}

// crowded is how many values may be in use where ways meet, at no charge.
// Compilers of real languages seldom come near it.
const crowded = 64

// values counts those values, at least one for each that can be on the stack.
func (lv *liveness) values(f *flow, locals int) int64 {
	if f.sets == 0 {
		return 0
	}
	if !lv.solve(f, locals) {
		return int64(f.sets) + int64(len(f.blocks))*int64(min(locals, f.sets))
	}
	return lv.count(f)
}

// solve finds what is live at the head of each block. It reports false for a
// function that is too large for it.
func (lv *liveness) solve(f *flow, locals int) bool {
	lv.words = (locals + 63) / 64
	n := len(f.blocks) * lv.words
	if n > maxLiveness {
		return false
	}
	for _, set := range []*[]uint64{&lv.read, &lv.late, &lv.written, &lv.live, &lv.cross} {
		*set = resize(*set, n)
		clear(*set)
	}
	lv.calls = resize(lv.calls, len(f.blocks))
	clear(lv.calls)
	lv.gather(f)
	lv.visited += int64(n)
	for lv.pass(f) && lv.visited <= maxVisited {
		lv.visited += int64(n)
	}
	return true
}

func (lv *liveness) gather(f *flow) {
	b := 0
	for i := range f.code {
		in := &f.code[i]
		for b+1 < len(f.blocks) && int(f.blocks[b+1].head) <= i {
			b++
		}
		switch in.op {
		case opLocalGet:
			if at, bit := b*lv.words+int(in.arg/64), uint64(1)<<(in.arg%64); lv.written[at]&bit == 0 {
				lv.read[at] |= bit
				if lv.calls[b] {
					lv.late[at] |= bit
				}
			}
		case opLocalSet, opLocalTee:
			lv.written[b*lv.words+int(in.arg/64)] |= 1 << (in.arg % 64)
		case opCall, opCallIndirect:
			lv.calls[b] = true
		}
	}
}

// after joins a set over all blocks that may follow block i.
func (lv *liveness) after(f *flow, set []uint64, i, word int) uint64 {
	out := uint64(0)
	for e := f.blocks[i].edges; e >= 0; e = f.edges[e].next {
		out |= set[int(f.edges[e].to)*lv.words+word]
	}
	for e := f.blocks[i].backs; e >= 0; e = f.edges[e].next {
		out |= set[int(f.edges[e].to)*lv.words+word]
	}
	return out
}

// pass carries both sets one round backwards and reports whether one changed
// at a loop header, which the blocks that jump back there have yet to see.
func (lv *liveness) pass(f *flow) (again bool) {
	for i := len(f.blocks) - 1; i >= 0; i-- {
		for word := range lv.words {
			at := i*lv.words + word
			out := lv.after(f, lv.live, i, word) &^ lv.written[at]
			live := lv.read[at] | out
			cross := lv.late[at] | lv.after(f, lv.cross, i, word)&^lv.written[at]
			if lv.calls[i] {
				cross |= out
			}
			if live != lv.live[at] || cross != lv.cross[at] {
				lv.live[at], lv.cross[at] = live, cross
				again = again || f.blocks[i].header
			}
		}
	}
	return again
}

// count walks the code once more, now that it is known what comes after.
func (lv *liveness) count(f *flow) (values int64) {
	lv.pending = resize(lv.pending, lv.words)       // assigned since the last call
	lv.candidates = resize(lv.candidates, lv.words) // assigned before it: on the stack if read again
	clear(lv.pending)
	clear(lv.candidates)
	recent := 0 // assignments in pending
	b := 0
	enter := func() {
		recent = 0
		if f.blocks[b].preds > 1 || f.blocks[b].header {
			values += lv.met(b)
		}
	}
	leave := func() {
		for word := range lv.words {
			live := lv.after(f, lv.live, b, word)
			stays := lv.after(f, lv.cross, b, word)
			if bits.OnesCount64(live) > registers || lv.words > 1 {
				stays = live
			}
			values += int64(bits.OnesCount64(lv.candidates[word]&live) + bits.OnesCount64(lv.pending[word]&stays))
			lv.pending[word], lv.candidates[word] = 0, 0
		}
	}
	enter()
	for i := range f.code {
		in := &f.code[i]
		for b+1 < len(f.blocks) && int(f.blocks[b+1].head) <= i {
			leave()
			b++
			enter()
		}
		word, bit := int(in.arg/64), uint64(1)<<(in.arg%64)
		switch in.op {
		case opLocalGet:
			if lv.candidates[word]&bit != 0 {
				lv.candidates[word] &^= bit
				values++
			}
		case opLocalSet, opLocalTee:
			lv.candidates[word] &^= bit
			if lv.pending[word]&bit == 0 {
				lv.pending[word] |= bit
				recent++
			}
			if recent > registers {
				values++
			}
		case opCall, opCallIndirect:
			for word := range lv.words {
				lv.candidates[word] |= lv.pending[word]
				lv.pending[word] = 0
			}
			recent = 0
		}
	}
	leave()
	return values
}

// met counts the values made where ways meet at the head of a block: all that
// are live when they are too many for the registers, else those that a call crosses.
func (lv *liveness) met(b int) int64 {
	live, cross := 0, 0
	for word := range lv.words {
		live += bits.OnesCount64(lv.live[b*lv.words+word])
		cross += bits.OnesCount64(lv.cross[b*lv.words+word])
	}
	if live > registers {
		return int64(live)
	}
	return int64(cross)
}
