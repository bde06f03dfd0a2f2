// Package abi is the guest's half of the Canonical ABI for the contract in
// wit/: the layouts of its records and, in a wasm build, the memory that
// carries them. It is written for these types and no others.
//
// A guest believes its host, so nothing here is checked; the host checks
// everything that a guest hands back.
package abi

import "unsafe"

// The records as they lie in linear memory. Go gives these structs the very
// offsets of the Canonical ABI, since each field is as wide as its wasm type;
// a test holds them against the table in wit/README.md.
type (
	// Str is a string or a list: where it starts and how many bytes or elements it has.
	Str struct{ Ptr, Len uint32 }
	// OptStr is option<string>.
	OptStr struct {
		Some uint8
		_    [3]uint8
		Str
	}
	// OptBool is option<bool>.
	OptBool struct{ Some, Value uint8 }
	// OptF64 is option<f64>.
	OptF64 struct {
		Some  uint8
		_     [7]uint8
		Value float64
	}
	// OptU64 is option<u64>.
	OptU64 struct {
		Some  uint8
		_     [7]uint8
		Value uint64
	}

	// Step is record step.
	Step struct {
		ID, Action, Name        Str
		Time                    uint64
		Session, Trace, Parent  OptStr
		Success                 OptBool
		_                       [2]uint8
		DurationMS              OptF64
		Phi, KuramotoR          OptF64
		ChannelCoherence        OptStr
		Input, Output, Metadata OptStr
	}
	// Signal is record signal.
	Signal struct {
		Step    uint32
		Type    Str
		Subject OptStr
		Data    Str
	}
	// Event is record event.
	Event struct {
		ID, Type Str
		Subject  OptStr
		_        uint32
		Time     uint64
		Body     Str
	}
	// Outcome is variant outcome, with the payload that its case has: Receipt
	// or Reason, which begin at the same offset.
	Outcome struct {
		Case uint8
		_    [3]uint8
		// Receipt is the option<string> of accepted.
		Receipt OptStr
	}
	// Failure is record failure.
	Failure struct {
		Kind         uint8
		_            [3]uint8
		Message      Str
		_            uint32
		RetryAfterMS OptU64
	}
	// Diagnostic is record diagnostic.
	Diagnostic struct {
		Path, Message Str
		Hint          OptStr
	}
	// Translation is record translation.
	Translation struct{ Args, Argv, Entrypoint, Warnings Str }
	// Header is tuple<string, string>.
	Header struct{ Name, Value Str }
	// HTTPError is variant http.error: denied and network carry a string.
	HTTPError struct {
		Case uint8
		_    [3]uint8
		Text Str
	}
	// Response is record http.response.
	Response struct {
		Status  uint16
		_       [2]uint8
		Headers Str
		Body    Str
	}
)

// The results: a discriminant, 0 for ok and 1 for err, and what either carries.
type (
	// MapResult is result<list<signal>, string>.
	MapResult struct {
		Err uint8
		_   [3]uint8
		Str
	}
	// ForwardResult is result<_, failure> and result<list<outcome>, failure>;
	// [ForwardResult.Outcomes] is the ok side.
	ForwardResult struct {
		Err uint8
		_   [7]uint8
		Failure
	}
	// TranslateResult is result<translation, list<diagnostic>>;
	// [TranslateResult.Diagnostics] is the err side.
	TranslateResult struct {
		Err uint8
		_   [3]uint8
		Translation
	}
	// HTTPResult is result<response, http.error>; [HTTPResult.Error] is the
	// err side.
	HTTPResult struct {
		Err uint8
		_   [3]uint8
		Response
	}
	// AppendResult is result<_, string>.
	AppendResult struct {
		Err uint8
		_   [3]uint8
		Str
	}
)

// The payloads that share their place with another case's.

// Reason is the string that every case of outcome but accepted and duplicate carries.
func (o *Outcome) Reason() *Str { return (*Str)(unsafe.Pointer(&o.Receipt)) }

// Error is the err side.
func (r *HTTPResult) Error() *HTTPError { return (*HTTPError)(unsafe.Pointer(&r.Response)) }

// Outcomes is the ok side of deliver.
func (r *ForwardResult) Outcomes() *Str { return (*Str)(unsafe.Pointer(&r.Failure)) }

// Diagnostics is the err side.
func (r *TranslateResult) Diagnostics() *Str { return (*Str)(unsafe.Pointer(&r.Translation)) }
