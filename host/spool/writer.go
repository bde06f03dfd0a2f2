package spool

// Writer appends to one slot, which is its own until Close or until the
// process ends. Its methods may be called from several goroutines.
type Writer struct{}

// Writer takes the lowest free slot, without waiting. Folders are made when
// missing. Errors are carl.home.unusable and carl.spool.failed.
func (s *Spool) Writer() (*Writer, error) { panic("not yet") }

// Slot returns the slot's number.
func (w *Writer) Slot() int { panic("not yet") }

// Append appends one record for each payload, in order, with one write. It
// returns nil only when the kernel has all of them (and the disk, with
// [SyncAlways]); from then on no death of the process loses them. On an error
// (carl.spool.failed) none of them is acknowledged, though some may be read
// later; the caller may try again, now or when there is space. No payload may
// be empty or longer than [MaxPayload], nor all together than [MaxBatch].
// epoch is the consent epoch, 0 for none. Payloads must not contain the byte
// 0xF5, which UTF-8 text never does.
func (w *Writer) Append(epoch uint32, payloads ...[]byte) error { panic("not yet") }

// Close flushes what was appended, unless [SyncOff], and frees the slot. An
// error means that a power cut may lose records appended by this Writer; the
// death of the process still does not. A second Close does nothing.
func (w *Writer) Close() error { panic("not yet") }
