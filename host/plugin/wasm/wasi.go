package wasm

import (
	"bytes"
	crand "crypto/rand"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"carl.camp/carl/host/world"
)

// The errors of WASI preview 1 that are answered here.
const (
	errnoSuccess = 0
	errnoBadf    = 8
	errnoFault   = 21
	errnoInval   = 28
	errnoNosys   = 52
	errnoSpipe   = 70
)

const (
	wasiModule = "wasi_snapshot_preview1"
	// maxIovecs bounds one write; IOV_MAX of Linux.
	maxIovecs = 1024
	// maxSubscriptions bounds one poll; Go asks for one or two.
	maxSubscriptions = 1024
	// hostChunk is how many bytes are made or printed between two looks at the clock.
	hostChunk = 64 << 10
	// realClockStep is what the clock of a forwarder is cut to.
	realClockStep = time.Millisecond
)

// pureSeed seeds the random source of mappers and translators: the same in
// every instance, so that the same bytes in give the same bytes out.
var pureSeed = sha256.Sum256([]byte("a pure plugin leaves nothing to chance"))

// wasiState is what an instance knows of the outside through WASI.
type wasiState struct {
	// pure is set for mappers and translators.
	pure bool
	// clock of a pure guest, in nanoseconds: it stands still but for what the
	// guest asks poll_oneoff to wait, so that a guest that sleeps gets on.
	clock  int64
	random *rand.ChaCha8 // of a pure guest
	born   time.Time     // where the monotonic clock of another guest begins
	out    [2]lineBuffer // stdout, stderr
	// words is the line on stderr that says why a guest is about to end itself, last its latest one.
	words, last string
}

// lineBuffer holds the beginning of a line that is not complete.
type lineBuffer struct{ text []byte }

func (s *wasiState) init(w World) {
	s.pure = w != EventForwarder
	s.random = rand.NewChaCha8(pureSeed)
	s.born = time.Now()
}

func (s *wasiState) begin() { s.words, s.last = "", "" }

// flush passes on what stands on a line that never ended.
func (s *wasiState) flush(log *callLog) {
	for i := range s.out {
		if len(s.out[i].text) > 0 {
			s.line(log, i)
		}
	}
}

func (s *wasiState) line(log *callLog, fd int) {
	text := s.out[fd].text
	level := world.LogInfo
	if fd == 1 {
		level = world.LogWarn
		s.last = clean(text, maxReason)
		if s.words == "" && (bytes.HasPrefix(text, []byte("panic: ")) || bytes.HasPrefix(text, []byte("fatal error: "))) {
			s.words = s.last
		}
	}
	log.write(level, text)
	s.out[fd].text = text[:0]
}

// lastWords is what a guest said on stderr before it ended itself, or "".
func (s *wasiState) lastWords() string {
	if len(s.out[1].text) > 0 && s.words == "" {
		return clean(s.out[1].text, maxReason)
	}
	if s.words != "" {
		return s.words
	}
	return s.last
}

// print takes bytes for stdout (0) or stderr (1).
func (s *wasiState) print(log *callLog, fd int, b []byte) {
	for len(b) > 0 {
		part, rest, ended := bytes.Cut(b, []byte("\n"))
		line := &s.out[fd]
		// One byte beyond the bound is kept, so that the line is seen to be too long.
		room := maxLogLine + 1 - len(line.text)
		line.text = append(line.text, part[:min(len(part), room)]...)
		if ended {
			s.line(log, fd)
		}
		b = rest
	}
}

// wasi makes a host function of one that answers an errno.
func wasi(name, params string, run func(in *instance, a []uint64) uint64) hostFunc {
	return hostFunc{wasiModule, name, params, "i", func(in *instance, stack []uint64) { stack[0] = run(in, stack) }}
}

// deny answers every call with one errno.
func deny(name, params string, errno uint64) hostFunc {
	return wasi(name, params, func(*instance, []uint64) uint64 { return errno })
}

// wasiFuncs is all of preview 1. It gives a guest no arguments, no environment,
// no files and no sockets; stdin is at its end, stdout and stderr go to the log.
func wasiFuncs() []hostFunc {
	funcs := []hostFunc{
		deny("args_get", "ii", errnoSuccess),
		wasi("args_sizes_get", "ii", twoZeros),
		deny("environ_get", "ii", errnoSuccess),
		wasi("environ_sizes_get", "ii", twoZeros),
		wasi("clock_res_get", "ii", clockRes),
		wasi("clock_time_get", "iIi", clockTime),
		wasi("fd_fdstat_get", "ii", fdstat),
		wasi("fd_fdstat_set_flags", "ii", stdioOnly(errnoSuccess)),
		wasi("fd_filestat_get", "ii", filestat),
		wasi("fd_read", "iiii", fdRead),
		wasi("fd_write", "iiii", fdWrite),
		wasi("fd_seek", "iIii", stdioOnly(errnoSpipe)),
		wasi("fd_tell", "ii", stdioOnly(errnoSpipe)),
		wasi("poll_oneoff", "iiii", pollOneoff),
		wasi("random_get", "ii", randomGet),
		deny("sched_yield", "", errnoSuccess),
		deny("proc_raise", "i", errnoNosys),
		{wasiModule, "proc_exit", "i", "", procExit},
	}
	for _, f := range []struct{ name, params string }{
		{"fd_advise", "iIIi"}, {"fd_allocate", "iII"}, {"fd_close", "i"}, {"fd_datasync", "i"},
		{"fd_fdstat_set_rights", "iII"}, {"fd_filestat_set_size", "iI"}, {"fd_filestat_set_times", "iIIi"},
		{"fd_pread", "iiiIi"}, {"fd_prestat_get", "ii"}, {"fd_prestat_dir_name", "iii"}, {"fd_pwrite", "iiiIi"},
		{"fd_readdir", "iiiIi"}, {"fd_renumber", "ii"}, {"fd_sync", "i"},
		{"path_create_directory", "iii"}, {"path_filestat_get", "iiiii"}, {"path_filestat_set_times", "iiiiIIi"},
		{"path_link", "iiiiiii"}, {"path_open", "iiiiiIIii"}, {"path_readlink", "iiiiii"},
		{"path_remove_directory", "iii"}, {"path_rename", "iiiiii"}, {"path_symlink", "iiiii"}, {"path_unlink_file", "iii"},
		{"sock_accept", "iii"}, {"sock_recv", "iiiiii"}, {"sock_send", "iiiii"}, {"sock_shutdown", "ii"},
	} {
		funcs = append(funcs, deny(f.name, f.params, errnoBadf))
	}
	return funcs
}

func twoZeros(in *instance, a []uint64) uint64 {
	if !in.mem.WriteUint32Le(uint32(a[0]), 0) || !in.mem.WriteUint32Le(uint32(a[1]), 0) {
		return errnoFault
	}
	return errnoSuccess
}

func stdioOnly(errno uint64) func(*instance, []uint64) uint64 {
	return func(_ *instance, a []uint64) uint64 {
		if uint32(a[0]) > 2 {
			return errnoBadf
		}
		return errno
	}
}

// now reads clock 0 (realtime) or 1 (monotonic).
func (s *wasiState) now(id uint32) (int64, bool) {
	switch {
	case id > 1:
		return 0, false
	case s.pure:
		// The monotonic clock is one ahead: Go takes 0 for a clock that is broken.
		return s.clock + int64(id), true
	case id == 0:
		return time.Now().Truncate(realClockStep).UnixNano(), true
	default:
		return int64(time.Since(s.born).Truncate(realClockStep)), true
	}
}

func clockRes(in *instance, a []uint64) uint64 {
	if uint32(a[0]) > 1 {
		return errnoInval
	}
	res := uint64(realClockStep)
	if in.wasi.pure {
		res = 1
	}
	if !in.mem.WriteUint64Le(uint32(a[1]), res) {
		return errnoFault
	}
	return errnoSuccess
}

func clockTime(in *instance, a []uint64) uint64 {
	t, ok := in.wasi.now(uint32(a[0]))
	if !ok {
		return errnoInval
	}
	if !in.mem.WriteUint64Le(uint32(a[2]), uint64(t)) {
		return errnoFault
	}
	return errnoSuccess
}

// fdstat says that 0, 1 and 2 are character devices, which makes a C library
// write line by line.
func fdstat(in *instance, a []uint64) uint64 {
	fd := uint32(a[0])
	if fd > 2 {
		return errnoBadf
	}
	var stat [24]byte
	stat[0] = 2 // character device
	rights := uint64(1 << 6)
	if fd == 0 {
		rights = 1 << 1
	}
	le.PutUint64(stat[8:], rights)
	if !in.mem.Write(uint32(a[1]), stat[:]) {
		return errnoFault
	}
	return errnoSuccess
}

func filestat(in *instance, a []uint64) uint64 {
	if uint32(a[0]) > 2 {
		return errnoBadf
	}
	var stat [64]byte
	stat[16] = 2 // character device
	if !in.mem.Write(uint32(a[1]), stat[:]) {
		return errnoFault
	}
	return errnoSuccess
}

// fdRead finds stdin at its end.
func fdRead(in *instance, a []uint64) uint64 {
	if uint32(a[0]) != 0 {
		return errnoBadf
	}
	if !in.mem.WriteUint32Le(uint32(a[3]), 0) {
		return errnoFault
	}
	return errnoSuccess
}

func fdWrite(in *instance, a []uint64) uint64 {
	fd, iovs, count := uint32(a[0]), uint32(a[1]), uint32(a[2])
	if fd != 1 && fd != 2 {
		return errnoBadf
	}
	if count > maxIovecs {
		return errnoInval
	}
	vectors, ok := in.mem.Read(iovs, 8*count)
	if !ok {
		return errnoFault
	}
	total := uint64(0)
	for ; len(vectors) > 0; vectors = vectors[8:] {
		b, ok := in.mem.Read(le.Uint32(vectors), le.Uint32(vectors[4:]))
		if !ok {
			return errnoFault
		}
		// Vectors may overlap and stand for more than memory holds; the answer has 32 bits.
		if total += uint64(len(b)); total > math.MaxUint32 {
			return errnoInval
		}
		in.charge(0) // for an empty vector too
		for len(b) > 0 {
			part := b[:min(len(b), hostChunk)]
			// A line costs the host more than its bytes.
			in.charge(uint64(len(part) + logLineCost*bytes.Count(part, []byte("\n"))))
			in.wasi.print(&in.log, int(fd-1), part)
			b = b[len(part):]
		}
	}
	if !in.mem.WriteUint32Le(uint32(a[3]), uint32(total)) {
		return errnoFault
	}
	return errnoSuccess
}

func randomGet(in *instance, a []uint64) uint64 {
	b, ok := in.mem.Read(uint32(a[0]), uint32(a[1]))
	if !ok {
		return errnoFault
	}
	for len(b) > 0 {
		part := b[:min(len(b), hostChunk)]
		in.charge(uint64(len(part)))
		if in.wasi.pure {
			in.wasi.random.Read(part)
		} else {
			crand.Read(part)
		}
		b = b[len(part):]
	}
	return errnoSuccess
}

func procExit(in *instance, a []uint64) {
	in.halt(in.crashed("proc_exit", fmt.Sprintf("it exited with code %d", uint32(a[0]))))
}

// Layouts of poll_oneoff.
const (
	subscriptionSize = 48
	pollEventSize    = 32
)

// pollOneoff waits for the earliest of the clocks that it is given. Whatever
// else it is given cannot be waited for, and is ready at once with an error.
func pollOneoff(in *instance, a []uint64) uint64 {
	at, out, count, result := uint32(a[0]), uint32(a[1]), uint32(a[2]), uint32(a[3])
	if count == 0 || count > maxSubscriptions {
		return errnoInval
	}
	// Events overwrite the guest's memory, and may be told to where the
	// subscriptions are: these are copied first.
	subs, ok := in.mem.Read(at, subscriptionSize*count)
	if !ok {
		return errnoFault
	}
	subs = bytes.Clone(subs)
	if _, ok := in.mem.Read(out, pollEventSize*count); !ok {
		return errnoFault
	}
	in.charge(uint64(len(subs)))
	wait := int64(math.MaxInt64)
	for s := subs; len(s) > 0; s = s[subscriptionSize:] {
		d, errno := in.wasi.until(s)
		if errno != errnoSuccess {
			d = 0
		}
		wait = min(wait, d)
	}
	n := uint32(0)
	for s := subs; len(s) > 0; s = s[subscriptionSize:] {
		d, errno := in.wasi.until(s)
		if errno == errnoSuccess && d > wait {
			continue
		}
		var event [pollEventSize]byte
		copy(event[:8], s[:8])
		le.PutUint16(event[8:], uint16(errno))
		event[10] = s[8]
		in.mem.Write(out+pollEventSize*n, event[:])
		n++
	}
	in.sleep(wait)
	if !in.mem.WriteUint32Le(result, n) {
		return errnoFault
	}
	return errnoSuccess
}

// until says how many nanoseconds from now a subscription is due.
func (s *wasiState) until(sub []byte) (int64, uint64) {
	switch sub[8] {
	case 0: // clock
		now, ok := s.now(le.Uint32(sub[16:]))
		if !ok {
			return 0, errnoInval
		}
		due := int64(min(le.Uint64(sub[24:]), math.MaxInt64))
		if le.Uint16(sub[40:])&1 != 0 { // a time, not a duration
			due -= now
		}
		return max(due, 0), errnoSuccess
	case 1, 2: // reading, writing
		return 0, errnoBadf
	}
	return 0, errnoInval
}

// sleep lets time pass: at once for a pure guest, really for another, but no
// longer than its call lasts.
func (in *instance) sleep(nanos int64) {
	if in.wasi.pure {
		in.wasi.clock += min(nanos, math.MaxInt64-1-in.wasi.clock)
		return
	}
	if nanos > 0 {
		ctx, cancel := in.hostContext()
		defer cancel()
		timer := time.NewTimer(time.Duration(nanos))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	in.check()
}
