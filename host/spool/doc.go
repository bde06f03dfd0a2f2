// Package spool is the durable outbox: records go in without waiting, each
// destination reads them at its own pace, and what all have settled goes.
//
// # Promises
//
//   - A record whose Append returned nil is never lost to the death of a
//     process, and not to a power cut either once it was flushed ([Sync]).
//   - A number (slot, sequence) is used for one record only, as long as any
//     destination may have settled it or has it in flight: so progress that is
//     durable never swallows a record, even where a power cut took the records
//     that it counts.
//   - No content of any file stops the spool. Damage is copied to quarantine,
//     counted and skipped.
//   - Nothing grows without end: records are bounded by age and bytes, dead
//     letters and quarantine by bytes, slots by the writers at one time; and
//     what is given up is counted durably, by reason ([Spool.Losses]).
//
// # Files
//
//	spool/slot-NN/lock                     held by the slot's writer
//	spool/slot-NN/<first>.log              a segment; <first> in 20 digits
//	spool/losses, losses.lock              counts of what was given up
//	state/<destination>                    progress
//	state/<destination>.inflight           a batch, fixed before its first send
//	dlq/<destination>.jsonl, .lock         dead letters
//	quarantine/<origin>-<offset>.bad       copies of damaged bytes
//
// # Slots and segments
//
// A slot has one writer at a time, the holder of its lock; a writer takes the
// lowest slot that is free. A segment belongs to a slot and holds frames, one
// behind the other, whose sequence numbers begin with the number in the file's
// name and are consecutive. Only the last segment of a slot is written to, at
// its end, and only by the slot's writer; when it has 1 MiB a successor is
// made. The last segment is never removed without a successor, since its name
// keeps the slot's numbers.
//
// A new owner of a slot reads its last segment. Where that ends in the
// beginning of a frame, a writer was killed at work: the bytes were never
// acknowledged and are cut off. Where it ends in anything else, the segment is
// left as it is, and a successor begins above every number that it could hold.
// The successor also begins above every number that is settled in state/ or
// stands in a batch in flight.
//
// A reader takes no lock. It lists a slot twice and believes the second listing
// up to the last segment of the first, since one listing may miss a segment and
// show its successor. It reads whole frames; what stands behind the last one
// is not there yet in a slot's last segment, and damage in any other. Damage
// with a valid frame behind it is skipped by searching that frame's magic.
//
// # Frame
//
// All integers are little-endian.
//
//	offset  size
//	     0     4  magic: f5 73 70 6c, which no UTF-8 text contains
//	     4     4  CRC-32C (Castagnoli) of all that follows, payload included
//	     8     4  length of the payload: 1 to 4 MiB
//	    12     4  flags: 0; a frame with others is not valid
//	    16     8  sequence number: 1 to 2^62-1
//	    24     8  time of Append: nanoseconds since 1970, signed
//	    32     4  consent epoch at recording; 0 is without consent
//	    36        payload
//
// A frame is valid in a segment when, besides, its number is above that of the
// frame before it, and exceeds the segment's first number by at most its offset
// divided by 37, the length of the shortest frame.
//
// As an example, record 42 of epoch 2, appended at 2026-11-23T01:02:03.456789Z,
// with the payload {"step_id":"5f0c6e1ab2d4","action":"REWARD","name":"r"}:
//
//	f5 73 70 6c  magic
//	96 34 6d 0e  CRC-32C
//	37 00 00 00  55 bytes
//	00 00 00 00  no flags
//	2a 00 00 00 00 00 00 00  number 42
//	08 ba e5 e7 e5 86 ea 18  time
//	02 00 00 00  epoch 2
//	7b 22 73 74 65 70 5f 69 64 22 3a 22 35 66 30 63  {"step_id":"5f0c
//	36 65 31 61 62 32 64 34 22 2c 22 61 63 74 69 6f  6e1ab2d4","actio
//	6e 22 3a 22 52 45 57 41 52 44 22 2c 22 6e 61 6d  n":"REWARD","nam
//	65 22 3a 22 72 22 7d  e":"r"}
//
// # State, batch in flight, losses
//
// Each is one line of JSON and then the line "crc32c XXXXXXXX", the CRC-32C of
// the first line with its line end in lowercase hex. The state of a destination
// that has settled the numbers 1 to 41, 43 and 44 of slot 0:
//
//	{"v":1,"destination":"camp","acknowledged":3,"updated":"2026-11-23T01:02:03.456789Z","slots":[{"slot":0,"mark":41,"spans":[[43,45]]}]}
//	crc32c 6d8a2bed
//
// In a batch in flight the data follow behind the second line, byte for byte;
// the JSON has their length and CRC-32C, and the numbers that they settle as
// [slot, from, to]: from ≤ n < to. The files are replaced atomically and
// durably (package private). A damaged state or batch is moved aside and begins
// anew: ids are stable, so that sending again is legal, and losing is not. A
// file with a later "v" is an error.
//
// # Dead letters
//
// One JSON object a line, see [DeadLetter]. Appending is one write and a flush;
// a line that a killed writer left unfinished is cut by the next one. Dropping
// and marking rewrite the file atomically. Lines of one id are one letter.
package spool
