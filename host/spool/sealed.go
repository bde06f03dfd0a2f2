package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"github.com/go-json-experiment/json"
)

const (
	// version is that of all files beside the segments.
	version = 1
	// maxSealed bounds the JSON of such a file: a state with the most spans in
	// many slots has less than this.
	maxSealed = 64 << 20

	sealPrefix = "crc32c "
	sealSize   = len(sealPrefix) + 8 + 1
)

// A sealed text is one line of JSON and then the line "crc32c <8 hex digits>",
// the CRC-32C of the first line with its line end.

var (
	errDamaged = errors.New("it is damaged")
	errTooNew  = errors.New("it was written by a later version of carl")
)

func seal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	return fmt.Appendf(b, "%s%08x\n", sealPrefix, crc32.Checksum(b, castagnoli)), nil
}

// unseal reads a sealed text at the beginning of b into v and returns what
// follows it. Errors are errDamaged and errTooNew.
func unseal(b []byte, v any) (rest []byte, err error) {
	i := bytes.IndexByte(b, '\n') + 1
	if i == 0 || len(b) < i+sealSize {
		return nil, errDamaged
	}
	if want := fmt.Sprintf("%s%08x\n", sealPrefix, crc32.Checksum(b[:i], castagnoli)); string(b[i:i+sealSize]) != want {
		return nil, errDamaged
	}
	var head struct {
		V int `json:"v"`
	}
	if json.Unmarshal(b[:i], &head) != nil || head.V < 1 {
		return nil, errDamaged
	}
	if head.V > version {
		return nil, errTooNew
	}
	if json.Unmarshal(b[:i], v, json.RejectUnknownMembers(true)) != nil {
		return nil, errDamaged
	}
	return b[i+sealSize:], nil
}

// loadSealed reads the sealed file path into v. It reports false when there is
// none, or when it was damaged; a damaged one is moved aside. valid may refuse
// what the format allows and the meaning does not; it gets what follows the
// sealed text.
func (s *Spool) loadSealed(path string, max int64, v any, valid func(rest []byte) bool) (bool, error) {
	b, err := private.ReadFileOn(s.fs, path, max)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, spoolError("read", err)
	}
	rest, err := unseal(b, v)
	if err == nil && !valid(rest) {
		err = errDamaged
	}
	switch err {
	case nil:
		return true, nil
	case errTooNew:
		return false, fault.New(fault.HomeTooNew, "cannot read %s: %w", path, err).WithKept("it was left as it is")
	}
	if _, err := private.QuarantineOn(s.fs, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, spoolError("move aside", err)
	}
	return false, nil
}
