// Package fault is the error that carl shows to people and programs: a stable
// code, what was refused and why, what was left untouched, and the command
// that mends it.
//
// Packages return a *Error where they know the subject, once; callers below
// add nothing. To branch on one, use [CodeOf] or errors.As.
package fault

import (
	"errors"
	"fmt"
	"slices"
)

// Error is one refusal. It is immutable after construction: the With methods
// return copies, so an Error may be a package-level value and may be shared
// between goroutines.
type Error struct {
	// Code is the stable name of the class of failure, such as
	// "carl.plugin.trapped". Its exit status and remedy stand in [Codes].
	Code Code
	// Message says what was refused and why: lowercase, no full stop, subject first.
	Message string
	// Kept says what was left untouched, such as "the cached entitlements were kept"; may be empty.
	Kept string
	// Hint is the command or the step that mends it; may be empty, in which
	// case the remedy of the code serves.
	Hint string
	// Err is the cause, for errors.Is and errors.As; it is part of Message already or is not for people.
	Err error
}

// New returns an error with a code and a formatted message. A %w in the
// format sets the cause. Of an *Error among args only the message is shown:
// what was kept, and under which code, is for the outermost one to say.
func New(code Code, format string, args ...any) *Error {
	args = slices.Clone(args)
	for i, a := range args {
		if e, ok := a.(*Error); ok && e != nil {
			args[i] = inner{e}
		}
	}
	err := fmt.Errorf(format, args...)
	cause := errors.Unwrap(err)
	if _, several := err.(interface{ Unwrap() []error }); several {
		cause = err
	}
	return &Error{Code: code, Message: err.Error(), Err: cause}
}

// inner is an *Error within the message of another.
type inner struct{ e *Error }

func (i inner) Error() string { return i.e.Message }

func (i inner) Unwrap() error { return i.e }

// WithKept returns a copy of e that says what was left untouched.
func (e *Error) WithKept(format string, args ...any) *Error {
	c := *e
	c.Kept = fmt.Sprintf(format, args...)
	return &c
}

// WithHint returns a copy of e that names what mends it.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// Error gives the one-line form: message, code in parentheses, what was kept.
func (e *Error) Error() string {
	s := e.Message + " (" + string(e.Code) + ")"
	if e.Kept != "" {
		s += "; " + e.Kept
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the outermost *Error in err's chain, and
// [Internal] for any other error. It returns "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

// HintOf returns the hint of the outermost *Error in err's chain, or the
// remedy of its code where the error itself names none.
func HintOf(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	if e.Hint != "" {
		return e.Hint
	}
	for _, entry := range codes {
		if entry.Code == e.Code {
			return entry.Remedy
		}
	}
	return ""
}
