package private

import (
	"fmt"
	"regexp"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
)

// jsonVersion is the one layout of the home's JSON files that this carl writes
// and reads: the member "v".
const jsonVersion = 1

// DamagedError says that a JSON file is not what a carl of this version writes.
// Why quotes nothing of the file.
type DamagedError struct{ Why string }

func (e *DamagedError) Error() string { return e.Why }

// TooNewError says that a later version of carl wrote a JSON file.
type TooNewError struct {
	Version int64
	// Use says which carl to use.
	Use string
}

func (e *TooNewError) Error() string {
	return fmt.Sprintf("it has version %d, and this carl knows version %d: %s", e.Version, jsonVersion, e.Use)
}

// carlVersion is what may stand in the member "carl" of a later version's file.
var carlVersion = regexp.MustCompile(`^[0-9A-Za-z.+-]{1,32}$`)

// ParseJSON reads the content of a JSON file of the home into a pointer to a
// struct with all members that version 1 of the file has: one object with
// "v":1, no unknown member, no duplicate, valid UTF-8.
//
// Errors are *[DamagedError], which echoes nothing of data, and *[TooNewError].
func ParseJSON(data []byte, into any) error {
	var later struct {
		V    jsontext.Value `json:"v"`
		Carl jsontext.Value `json:"carl"`
	}
	if err := json.Unmarshal(data, &later); err != nil {
		return &DamagedError{"it is not a JSON object"}
	}
	var v int64
	if later.V == nil || json.Unmarshal(later.V, &v) != nil || v < 1 {
		return &DamagedError{`it has no version "v"`}
	}
	if v > jsonVersion {
		use := "use the version of carl that wrote it, or a later one"
		var carl string
		if later.Carl != nil && json.Unmarshal(later.Carl, &carl) == nil && carlVersion.MatchString(carl) {
			use = "use carl " + carl + " or later"
		}
		return &TooNewError{v, use}
	}
	if err := json.Unmarshal(data, into, json.RejectUnknownMembers(true)); err != nil {
		return &DamagedError{"its members are not those of version 1"}
	}
	return nil
}

// FormatJSON returns the content of a JSON file of the home. The member "v" is
// from's own.
func FormatJSON(from any) ([]byte, error) {
	data, err := json.Marshal(from, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, fault.New(fault.Internal, "a file of the home cannot be encoded: %w", err)
	}
	return append(data, '\n'), nil
}
