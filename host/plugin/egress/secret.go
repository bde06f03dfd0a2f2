package egress

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"

	"carl.camp/carl/host/fault"
)

const (
	// maxSecret bounds a secret's value; servers take no larger field.
	maxSecret = 8 << 10
	// placeholder is where a secret goes in its format.
	placeholder = "{}"
	// maxFormat bounds a format, in bytes: a scheme's name and {}.
	maxFormat = 64
	// maxSent bounds how many values are remembered for scrubbing: more than
	// one plugin has secrets, and room for those that were replaced meanwhile.
	maxSent = 64
	// minEncoded is how many characters of an encoded secret are taken for it,
	// wherever it starts; fewer occur by chance.
	minEncoded = 8
)

// secretHeaders are the fields in which credentials travel, in canonical form.
// None of them steers the connection or the meaning of a request.
var secretHeaders = []string{
	"Authorization",
	"Api-Key",
	"Apikey",
	"Cf-Access-Client-Id",
	"Cf-Access-Client-Secret",
	"Dd-Api-Key",
	"Dd-Application-Key",
	"Ocp-Apim-Subscription-Key",
	"Private-Token",
	"X-Access-Token",
	"X-Api-Key",
	"X-Api-Token",
	"X-Auth-Key",
	"X-Auth-Token",
	"X-Functions-Key",
	"X-Goog-Api-Key",
	"X-Honeycomb-Team",
	"X-Insert-Key",
	"X-License-Key",
	"X-Splunk-Token",
	"X-Vault-Token",
}

// SecretHeader reports whether a secret may travel in the field of that name.
func SecretHeader(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	for _, h := range secretHeaders {
		if h == name {
			return true
		}
	}
	return false
}

// CheckFormat reports what is wrong with the format of a secret: it is visible
// ASCII with {} in it exactly once.
func CheckFormat(format string) error {
	if strings.Count(format, placeholder) != 1 {
		return fmt.Errorf("format %s does not hold %s exactly once", quote(format), placeholder)
	}
	if !isFieldValue(format) || strings.Contains(format, "\t") || strings.TrimSpace(format) != format || len(format) > maxFormat {
		return fmt.Errorf("format %s is not a short line of visible ASCII", quote(format))
	}
	return nil
}

// checkSecretValue accepts what can stand in a field as it is. The error
// holds no part of the value.
func checkSecretValue(v string) error {
	switch {
	case v == "":
		return fmt.Errorf("its value is empty")
	case len(v) > maxSecret:
		return fmt.Errorf("its value is longer than %d bytes", maxSecret)
	case !isFieldValue(v) || strings.Trim(v, " \t") != v || strings.Contains(v, "\t"):
		return fmt.Errorf("its value is not one line of visible ASCII")
	}
	return nil
}

// inject puts the secrets of the route into a request that is about to leave
// on it, in place of what the plugin put there, and remembers them for scrubbing.
func (c *Client) inject(r *route, header http.Header) error {
	for _, s := range r.secrets {
		value, err := s.Value()
		if err != nil {
			// The store's own error may quote what it read; its remedy does not.
			if hint := fault.HintOf(err); hint != "" {
				return fmt.Errorf("secret %q is not available: %s", s.Name, hint)
			}
			return fmt.Errorf("secret %q is not available", s.Name)
		}
		if err := checkSecretValue(value); err != nil {
			return fmt.Errorf("secret %q cannot be sent: %w", s.Name, err)
		}
		c.remember(value, s.Format)
		header.Set(s.Header, strings.Replace(s.Format, placeholder, value, 1))
	}
	return nil
}

// remember notes a secret for scrubbing. The values stay for the client's
// life, since an answer may echo what an earlier request carried.
func (c *Client) remember(value, format string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, old := range c.sent {
		if old.value == value && old.format == format {
			return
		}
	}
	if len(c.sent) == maxSent {
		c.sent = append(c.sent[:0:0], c.sent[1:]...)
	}
	// Appending never writes to an array that a scrubber reads: beyond its length.
	c.sent = append(c.sent, needle{value: value, format: format, forms: forms(value, format)})
}

func (c *Client) scrubber() scrubber {
	c.mu.Lock()
	defer c.mu.Unlock()
	return scrubber{needles: c.sent}
}

// needle is one secret and the forms in which an answer may repeat it.
type needle struct {
	value, format string
	forms         []form
}

// form is a folded text to look for.
type form struct {
	text []byte
	// left and right say that text is the middle of an encoding whose next
	// character, on that side, carries a few bits of the secret too.
	left, right bool
}

// forms lists what to look for in folded text. Escapes need no form of their
// own: scrubbing looks at the unescaped text too.
func forms(value, format string) []form {
	secrets := []string{value}
	if strings.EqualFold(strings.TrimSpace(strings.Replace(format, placeholder, "", 1)), "Basic") {
		// What is secret in Basic credentials is the password within.
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
			if plain, err := enc.DecodeString(value); err == nil && len(plain) > 0 {
				secrets = append(secrets, string(plain))
				// Some services take a key as the user, and no password.
				user, password, _ := strings.Cut(string(plain), ":")
				if password != "" {
					secrets = append(secrets, password)
				} else if user != "" {
					secrets = append(secrets, user)
				}
				break
			}
		}
	}
	var out []form
	add := func(text string, left, right bool) {
		f := form{fold([]byte(text)), left, right}
		for _, other := range out {
			if bytes.Equal(other.text, f.text) && other.left == left && other.right == right {
				return
			}
		}
		out = append(out, f)
	}
	for _, s := range secrets {
		add(s, false, false)
		add(base64.RawStdEncoding.EncodeToString([]byte(s)), false, false)
		add(hex.EncodeToString([]byte(s)), false, false)
		for shift := range 3 {
			if middle := base64Middle(s, shift); len(middle) >= minEncoded {
				add(middle, shift > 0, (shift+len(s))%3 > 0)
			}
		}
	}
	return out
}

// base64Middle is what is common to the base64 of all texts that hold s at an
// offset of shift modulo 3.
func base64Middle(s string, shift int) string {
	encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), s...))
	from := []int{0, 2, 3}[shift]
	to := (shift + len(s)) * 8 / 6
	if from >= to {
		return ""
	}
	return encoded[from:to]
}
