package standin

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
)

const (
	// maxUnwrap is how many times a text is decoded: a token in a URL in a URL
	// is in the second, and each time may make four texts of one.
	maxUnwrap = 3
	// minBase64 is the least run of base64 that is decoded: the shortest token
	// has 33 characters.
	minBase64 = 24
)

// payloadShapes are, beside those of every body, tokens that a payload in
// particular must not hold: the platform trains with its own.
var payloadShapes = []shape{
	{kind: "Hugging Face", head: "hf_oauth_", least: 20},
}

// credentialNames are members that hold a credential whatever it looks like,
// in the spelling of credentialName.
var credentialNames = []string{
	"hf_token", "hf_api_token", "hf_api_key", "hf_access_token", "hub_token",
	"huggingface_token", "huggingface_api_token", "huggingface_api_key", "huggingface_hub_token",
	"hugging_face_token", "hugging_face_hub_token", "huggingfacehub_api_token", "wandb_key",
}

// credentialName reports whether a member or a flag of this name holds a credential.
func credentialName(name string) bool {
	name, _, _ = strings.Cut(strings.TrimLeft(name, "-"), "=")
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	return slices.Contains(credentialNames, name) || strings.HasSuffix(name, "_api_key") || strings.HasSuffix(name, "password")
}

// credential says which kind of credential is in s, as it is or behind percent
// or base64 encoding, or "".
func credential(s, own string) string { return unwrap(s, own, maxUnwrap, false) }

// unwrap looks into s. Before a token in a text that was base64, anything may
// stand: where the encoding of what comes before ends is not known.
func unwrap(s, own string, depth int, anywhere bool) string {
	if kind := kindOf(s, own, anywhere); kind != "" || depth == 0 {
		return kind
	}
	if plain := unescape(s); plain != s {
		if kind := unwrap(plain, own, depth-1, anywhere); kind != "" {
			return kind
		}
	}
	for len(s) > 0 {
		n := base64Run(s)
		if n < minBase64 {
			s = s[max(n, 1):]
			continue
		}
		run := strings.NewReplacer("-", "+", "_", "/").Replace(s[:n])
		// What is encoded may begin at any of four places.
		for at := range 4 {
			part := run[at:]
			text, err := base64.RawStdEncoding.DecodeString(part[:len(part)&^3])
			if err != nil {
				continue
			}
			if rest := part[len(part)&^3:]; len(rest) > 1 {
				tail, _ := base64.RawStdEncoding.DecodeString(rest)
				text = append(text, tail...)
			}
			if kind := unwrap(string(text), own, depth-1, true); kind != "" {
				return kind
			}
		}
		s = s[n:]
	}
	return ""
}

func kindOf(s, own string, anywhere bool) string {
	if kind := tokenIn(s, own, anywhere); kind != "" {
		return kind
	}
	for i := range payloadShapes {
		if payloadShapes[i].in(s, anywhere) {
			return payloadShapes[i].kind
		}
	}
	return ""
}

// unescape takes percent encoding off, and leaves what is none.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				out.WriteString(c)
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// base64Run is how many characters of either alphabet s starts with.
func base64Run(s string) int {
	n := 0
	for n < len(s) && (isAlnum(s[n]) || strings.IndexByte("+/-_", s[n]) >= 0) {
		n++
	}
	return n
}
