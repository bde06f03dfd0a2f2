package home

import (
	"os"
	"strings"
	"time"

	"carl.camp/carl/host/fault"
)

// maxToken bounds a bearer token: common servers take 8 KiB in a header.
const maxToken = 8 << 10

// tokenVariable comes before the file.
const tokenVariable = "CARL_CAMP_TOKEN"

// Credentials is the platform's bearer token.
type Credentials struct{ h *Home }

// Credentials returns the home's credentials.
func (h *Home) Credentials() Credentials { return Credentials{h} }

// Token is a bearer token and where it came from.
type Token struct {
	// Value is the token, or "" for not logged in.
	Value string
	// Source is "CARL_CAMP_TOKEN" or the path of credentials.json; "" for not logged in.
	Source string
	// SavedAt is when it was stored; zero for one of the environment.
	SavedAt time.Time
}

type credentialsFile struct {
	V       int       `json:"v"`
	Token   string    `json:"token"`
	SavedAt time.Time `json:"saved_at,omitzero"`
}

func (c Credentials) file() jsonFile {
	return jsonFile{
		path: c.h.Paths.Credentials,
		max:  maxSmallFile,
		lost: "carl counts as not logged in",
		mend: "run `carl camp login`, which moves the damaged file aside",
	}
}

// Token returns the token in use: CARL_CAMP_TOKEN of environ, else the stored
// one. A zero Token and no error means that nobody is logged in.
func (c Credentials) Token(environ []string) (Token, error) {
	if v := lookup(environ, tokenVariable); v != "" {
		v, err := checkToken(v)
		if err != nil {
			return Token{}, err.WithKept("%s is set, so the stored token was not used", tokenVariable).
				WithHint("correct or unset %s", tokenVariable)
		}
		return Token{Value: v, Source: tokenVariable}, nil
	}
	return c.stored()
}

func (c Credentials) stored() (Token, error) {
	var f credentialsFile
	found, err := c.file().read(&f)
	if err != nil || !found {
		return Token{}, err
	}
	v, illegal := checkToken(f.Token)
	if illegal != nil || v != f.Token {
		return Token{}, c.file().corrupt("what it holds cannot be a token")
	}
	return Token{Value: v, Source: c.file().path, SavedAt: f.SavedAt}, nil
}

// SetToken stores a token. White space around it is dropped; what is left must
// be one line of visible ASCII, at most 8 KiB, or the error is
// carl.camp.token_invalid and the stored token stays.
func (c Credentials) SetToken(token string) error {
	token, illegal := checkToken(token)
	if illegal != nil {
		return illegal.WithKept("the stored token, if any, was kept")
	}
	return c.h.guarded(func() error {
		_, err := c.stored()
		if fault.CodeOf(err) == fault.HomeCorrupt {
			err = c.file().aside()
		}
		if err != nil {
			return err
		}
		return c.file().write(&credentialsFile{V: version, Token: token, SavedAt: now()})
	})
}

// Drop removes the stored token, damaged or not, and reports whether there was one.
func (c Credentials) Drop() (bool, error) {
	if _, err := os.Lstat(c.file().path); os.IsNotExist(err) {
		return false, nil
	}
	dropped := false
	err := c.h.guarded(func() error {
		err := os.Remove(c.file().path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return unusable(c.file().path, err)
		}
		dropped = true
		return nil
	})
	return dropped, err
}

func checkToken(token string) (string, *fault.Error) {
	token = strings.TrimSpace(token)
	why := ""
	switch {
	case token == "":
		why = "it is empty"
	case len(token) > maxToken:
		why = "it is longer than 8 KiB"
	case !visible(token, '!'):
		why = "it is not one line of visible ASCII without spaces"
	}
	if why != "" {
		return "", fault.New(fault.CampTokenInvalid, "that cannot be a bearer token: %s", why)
	}
	return token, nil
}

// visible reports whether s is ASCII from lowest to ~.
func visible(s string, lowest byte) bool {
	for i := range len(s) {
		if s[i] < lowest || s[i] > '~' {
			return false
		}
	}
	return true
}
