package camp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
)

const (
	// callTimeout bounds one call as a whole: names, dialling, TLS, redirects,
	// fields and body. People wait for it.
	callTimeout = 10 * time.Second
	// maxRedirects is how many redirects one call follows. The API has none; a
	// gateway in front of the platform, or a path that moved, makes one or two.
	maxRedirects = 3
	// maxLocation bounds the address that a redirect names; common servers stop at 8 KiB.
	maxLocation = 8 << 10
	// maxAnswer bounds the body of an answer, in bytes: sixteen keys, or the
	// longest token in its envelope, take a quarter of it.
	maxAnswer = 64 << 10
	// minEcho is how many characters of the token, in a row, are taken for a
	// part of it where the platform repeats them; fewer occur by chance.
	minEcho = 8
	// redacted stands where the token stood.
	redacted = "[redacted]"
)

// ClientOptions say where the platform is, and as whom and on which way carl asks it.
type ClientOptions struct {
	URL   URL
	Paths Paths
	// Token is the bearer token; "" where only the keys are asked for.
	Token string
	// Proxy is the URL, http or https, of a proxy for a platform that is not on
	// this machine; "" for none. The environment is never asked for one.
	Proxy string
	// CAFile names a PEM file of certificates to trust beside the system's; "" for none.
	CAFile string
	// Offline makes every call fail before a name is looked up or a socket opened.
	Offline bool
	// Version is carl's own, for the User-Agent.
	Version string
}

// Client asks the platform for what carl itself needs of it, and starts and
// follows training runs there. What plugins send there is not its business.
//
// The bearer token goes to the platform's own origin (scheme, host and port)
// and to no other: a redirect that leads elsewhere is not followed. Plain http
// is spoken to loopback addresses alone, which is checked again when the
// connection is made. No cookie and no connection is kept, nothing is
// decompressed, and every answer is bounded in bytes and in time.
//
// A Client is safe for use by several goroutines.
type Client struct {
	url       URL
	paths     Paths
	origin    origin
	token     string
	agent     string
	offline   bool
	timeout   time.Duration // callTimeout; tests shorten it
	idle      time.Duration // idleTimeout; tests shorten it
	transport *http.Transport
}

// NewClient makes a client; nothing is resolved or dialled. The error is a
// *[fault.Error]: with code [fault.CampTokenInvalid] for the token, with
// [fault.ConfigInvalid] for everything else. It echoes no token and no password.
func NewClient(o ClientOptions) (*Client, error) {
	return newClient(o, net.DefaultResolver)
}

func newClient(o ClientOptions, resolver *net.Resolver) (*Client, error) {
	at, err := url.Parse(o.URL.Origin())
	if err != nil || at.Host == "" {
		return nil, fault.New(fault.ConfigInvalid, "camp.url: no address")
	}
	for _, path := range []string{o.Paths.JWKS, o.Paths.Entitlements} {
		if !validPath(path) {
			return nil, fault.New(fault.ConfigInvalid, "camp.paths: %q is not a plain absolute path", path)
		}
	}
	token := o.Token
	if token != "" {
		if token, err = ParseToken(token); err != nil {
			return nil, err
		}
	}
	transport, err := newTransport(o, resolver)
	if err != nil {
		return nil, err
	}
	agent := "carl"
	if o.Version != "" {
		agent += "/" + o.Version
	}
	return &Client{
		url:       o.URL,
		paths:     o.Paths,
		origin:    originOf(at),
		token:     token,
		agent:     agent,
		offline:   o.Offline,
		timeout:   callTimeout,
		idle:      idleTimeout,
		transport: transport,
	}, nil
}

// Token returns the signed token of GET [Paths].Entitlements, at most 8 KiB of
// visible ASCII, not verified. What stands beside it in the answer is dropped.
//
// The error is a *[fault.Error] with one of these codes:
//
//   - [fault.EntitlementsNetworkUnavailable]: no answer, none in ten seconds, a
//     part of one, or 408, 425, 429 or 5xx; also when ctx ended first, whose
//     error [errors.Is] then finds, and when carl is offline
//   - [fault.CampUnauthorized]: 401, or there is no token to ask with
//   - [fault.EntitlementsRefused]: 402 or 403
//   - [fault.CampRefused]: 404 or another 4xx
//   - [fault.CampMalformed]: an answer that API.md does not know, a redirect to
//     another origin, or something too large
func (c *Client) Token(ctx context.Context) (string, error) {
	// Offline comes first: that nothing was asked says nothing about the login.
	if c.token == "" && !c.offline {
		return "", fault.New(fault.CampUnauthorized, "camp: not logged in").WithHint("run `carl camp login`")
	}
	text, err := c.get(ctx, c.paths.Entitlements, c.token)
	if err != nil {
		return "", err
	}
	token, err := parseEnvelope(text)
	if err != nil {
		return "", c.malformed(c.paths.Entitlements, "%w", err)
	}
	return token, nil
}

// Keys returns the JSON Web Key Set of [Paths].JWKS as it was served, at most
// 64 KiB, not parsed. The bearer token is not sent.
//
// The error is as of [Client.Token], except that 401, 402 and 403 are
// [fault.CampRefused]: nobody's token was shown, so they are no word about the
// account.
func (c *Client) Keys(ctx context.Context) ([]byte, error) {
	text, err := c.get(ctx, c.paths.JWKS, "")
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return nil, c.malformed(c.paths.JWKS, "answered with what is no set of keys")
	}
	return text, nil
}

// get returns the body of a call's 200.
func (c *Client) get(ctx context.Context, path, bearer string) ([]byte, error) {
	if c.offline {
		return nil, fault.New(fault.EntitlementsNetworkUnavailable, "%w", errOffline).
			WithHint("run without --offline, and without `offline: true` in config.yaml")
	}
	within, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	at, err := url.Parse(c.url.Call(path))
	if err != nil {
		return nil, fault.New(fault.Internal, "camp: the address of a call cannot be read")
	}
	for range maxRedirects + 1 {
		body, next, err := c.hop(within, path, at, bearer)
		var known *fault.Error
		switch {
		case errors.As(err, &known):
			return nil, err
		case err != nil:
			return nil, c.unavailable(ctx, within, path, err)
		case next == nil:
			return body, nil
		}
		at = next
	}
	return nil, c.malformed(path, "redirects more than %d times", maxRedirects)
}

// hop sends one request, and returns the body of a 200 or where a redirect
// leads. An error that is no *[fault.Error] is the network's.
func (c *Client) hop(ctx context.Context, path string, at *url.URL, bearer string) ([]byte, *url.URL, error) {
	resp, err := c.send(path, c.request(ctx, http.MethodGet, at, bearer))
	if err != nil {
		return nil, nil, err
	}
	// What is left of a body is not read: the connection goes instead.
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		body, err := c.body(path, resp, maxAnswer)
		return body, nil, err
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		next, err := c.target(path, at, resp.Header.Get("Location"))
		return nil, next, err
	}
	return nil, nil, c.refusal(path, resp, bearer)
}

// request makes a request without a body.
func (c *Client) request(ctx context.Context, method string, at *url.URL, bearer string) *http.Request {
	req := (&http.Request{
		Method: method,
		URL:    at,
		Header: http.Header{
			"Accept":          {"application/json"},
			"Accept-Encoding": {"identity"},
			"User-Agent":      {c.agent},
		},
	}).WithContext(ctx)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return req
}

// send sends one request. An error that is no *[fault.Error] is the network's.
func (c *Client) send(path string, req *http.Request) (*http.Response, error) {
	resp, err := c.transport.RoundTrip(req)
	if tooManyFields(err) {
		return nil, c.malformed(path, "answered with fields of more than %d KiB", maxFields>>10)
	}
	return resp, err
}

// body reads an answer of at most limit bytes.
func (c *Client) body(path string, resp *http.Response, limit int) ([]byte, error) {
	if encoded(resp) {
		return nil, c.malformed(path, "encoded its answer although that was not asked for")
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(text) > limit {
		return nil, c.malformed(path, "answered with more than %d KiB", limit>>10)
	}
	return text, nil
}

// encoded reports whether the body is anything but what it says. A few bytes
// of gzip become a thousand times as many, so none is decompressed.
func encoded(resp *http.Response) bool {
	for _, coding := range resp.Header["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return true
		}
	}
	return false
}

// target returns the address that a redirect leads to, on the platform's own
// origin. Made anew of that origin, it cannot be another one that only looks
// like it.
func (c *Client) target(path string, at *url.URL, location string) (*url.URL, error) {
	if location == "" || len(location) > maxLocation || strings.ContainsFunc(location, notInURL) {
		return nil, c.malformed(path, "redirects to no address")
	}
	to, err := at.Parse(location)
	if err != nil || to.Host == "" {
		return nil, c.malformed(path, "redirects to no address")
	}
	if originOf(to) != c.origin {
		return nil, c.malformed(path, "redirects to another site, %q", c.scrub(clean(to.Scheme+"://"+to.Host))).
			WithHint("if a captive portal is in the way, log in to it with a browser; else correct `camp.url`")
	}
	if to.User != nil {
		return nil, c.malformed(path, "redirects to an address with a user name in it")
	}
	return &url.URL{Scheme: at.Scheme, Host: at.Host, Path: to.Path, RawPath: to.RawPath, RawQuery: to.RawQuery}, nil
}

// notInURL are the characters that a URL has percent-encoded only; a backslash
// is a slash to some.
func notInURL(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }

// refusal is what an answer with no 200 means.
func (c *Client) refusal(path string, resp *http.Response, bearer string) error {
	status := resp.StatusCode
	if status < 400 || status > 599 {
		return c.malformed(path, "answered %d, which the API does not know", status)
	}
	r := &Refusal{Status: status}
	if !encoded(resp) {
		r = ReadRefusal(status, resp.Body)
	}
	says := func(code fault.Code) *fault.Error {
		if r.Message == "" {
			return c.failed(code, path, "answered %d", status)
		}
		return c.failed(code, path, "answered %d: %s", status, c.scrub(r.Message))
	}
	switch {
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return says(fault.EntitlementsNetworkUnavailable).WithHint("try again in a while")
	case bearer != "" && status == http.StatusUnauthorized:
		return says(fault.CampUnauthorized).WithHint("run `carl camp login`")
	case bearer != "" && (status == http.StatusPaymentRequired || status == http.StatusForbidden):
		return says(fault.EntitlementsRefused)
	}
	return says(fault.CampRefused).WithHint("check `camp.url`, or CARL_CAMP_URL, and `camp.paths` in config.yaml")
}

// unavailable says why no answer came. The error of the network stays out of
// the chain: it quotes what the peer sent.
func (c *Client) unavailable(ctx, within context.Context, path string, err error) *fault.Error {
	code := fault.EntitlementsNetworkUnavailable
	switch {
	case ctx.Err() != nil:
		return c.failed(code, path, "was not waited for: %w", ctx.Err())
	case within.Err() != nil:
		return c.failed(code, path, "gave no complete answer in %s", c.timeout)
	case unknownAuthority(err):
		return c.failed(code, path, "gave no answer: %s", reason(err)).
			WithHint("if something on the way inspects TLS, name the file of its certificate in `camp.ca_file`; else check `camp.url`")
	}
	return c.failed(code, path, "gave no answer: %s", reason(err))
}

func (c *Client) malformed(path, format string, args ...any) *fault.Error {
	return c.failed(fault.CampMalformed, path, format, args...)
}

// failed says what the call of path did. It is named by its own address,
// wherever redirects led, since those are the platform's words.
func (c *Client) failed(code fault.Code, path, format string, args ...any) *fault.Error {
	return fault.New(code, "camp: %s "+format, append([]any{c.url.Call(path)}, args...)...)
}

// scrub takes out of text of the platform what repeats the bearer token or a
// part of it, in any letter case: the text may have been cut in the middle of it.
func (c *Client) scrub(text string) string {
	n := min(len(c.token), minEcho)
	if n == 0 {
		return text
	}
	token, folded := fold(c.token), fold(text)
	hide := make([]bool, len(text))
	for i := 0; i+n <= len(text); i++ {
		if strings.Contains(token, folded[i:i+n]) {
			for j := range n {
				hide[i+j] = true
			}
		}
	}
	var out strings.Builder
	for i := range len(text) {
		switch {
		case !hide[i]:
			out.WriteByte(text[i])
		case i == 0 || !hide[i-1]:
			out.WriteString(redacted)
		}
	}
	return out.String()
}

// fold makes ASCII lower case and keeps every character where it is.
func fold(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// origin is scheme, host and port in their only spelling.
type origin struct{ scheme, host, port string }

func originOf(u *url.URL) origin {
	o := origin{u.Scheme, strings.ToLower(u.Hostname()), u.Port()}
	if ip, err := netip.ParseAddr(o.host); err == nil {
		o.host = ip.String()
	}
	if o.port == "" {
		o.port = "443"
		if o.scheme == "http" {
			o.port = "80"
		}
	}
	return o
}

// parseEnvelope reads the answer with the token: one JSON object, of which the
// first of token, jwt and access_token that is there counts. Of ok, only false
// means something, since an answer with access_token is another standard's.
// The error holds no part of text.
func parseEnvelope(text []byte) (string, error) {
	var e struct {
		OK          *bool   `json:"ok"`
		Token       *string `json:"token"`
		JWT         *string `json:"jwt"`
		AccessToken *string `json:"access_token"`
	}
	if json.Unmarshal(text, &e) != nil {
		return "", errors.New("answered with what is not one JSON object that holds a token")
	}
	if e.OK != nil && !*e.OK {
		return "", errors.New("answered that it is not ok")
	}
	for _, token := range []*string{e.Token, e.JWT, e.AccessToken} {
		switch {
		case token == nil:
			continue
		case *token == "":
			return "", errors.New("answered with an empty token")
		case len(*token) > maxToken:
			return "", errors.New("answered with a token that is too long")
		case strings.ContainsFunc(*token, func(r rune) bool { return r < '!' || r > '~' }):
			return "", errors.New("answered with what cannot be a token")
		}
		return *token, nil
	}
	return "", errors.New("answered without a token")
}
