package http

import (
	"errors"
	"testing"
)

func TestHeader(t *testing.T) {
	r := Response{Headers: []Header{{"Content-Type", "a"}, {"retry-after", "1"}, {"Retry-After", "2"}, {"X-\u212a", "kelvin"}}}
	for name, want := range map[string]string{
		"content-type": "a", "CONTENT-TYPE": "a", "Retry-After": "1", "X-K": "", "Missing": "", "": "",
	} {
		if got := r.Header(name); got != want {
			t.Errorf("Header(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestNativeBuildSendsNothing(t *testing.T) {
	_, err := Send(Request{Method: "GET", URL: "https://carl.camp"})
	var e *Error
	if !errors.As(err, &e) || e.Kind != Denied || e.Error() == "" {
		t.Errorf("Send in a native build: %v", err)
	}
}
