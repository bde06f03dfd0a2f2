package camp

import (
	"strings"

	"carl.camp/carl/host/fault"
)

// maxToken bounds a bearer token; the platform's JWTs stay under 8 KiB, and so do header fields everywhere.
const maxToken = 8 << 10

// ParseToken reads a bearer token as it is pasted or piped in: white space
// around it is dropped, and what is left must be the characters that RFC 6750
// §2.1 allows. The error is a *[fault.Error] with code
// [fault.CampTokenInvalid]; it never holds a part of the input.
func ParseToken(s string) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", fault.New(fault.CampTokenInvalid, "camp: the token is empty")
	case len(s) > maxToken:
		return "", fault.New(fault.CampTokenInvalid, "camp: the token is longer than %d bytes", maxToken)
	case !b64token(s):
		return "", fault.New(fault.CampTokenInvalid, "camp: the token has a character that no bearer token has")
	}
	return s, nil
}

// b64token is the production of that name in RFC 6750 §2.1.
func b64token(s string) bool {
	body := strings.TrimRight(s, "=")
	if body == "" {
		return false
	}
	for i := range len(body) {
		c := body[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~+/", c) >= 0:
		default:
			return false
		}
	}
	return true
}
