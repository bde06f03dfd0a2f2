package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"carl.camp/carl/host/world"
)

const (
	// maxDrain is how much of a redirect's body is read to keep its connection.
	maxDrain = 16 << 10
	// maxText bounds the text of an error, in bytes.
	maxText = 300
)

// errTooLarge is a bound on bytes that was passed, whoever passed it.
var errTooLarge = errors.New("too large")

// Send does one request and follows its redirects. The response is the last
// hop's, every field and the body without the secrets that this client ever
// sent: each is replaced where the destination repeats it. Fields are sorted
// by name; Set-Cookie and the fields of the connection are left out; a field
// that is not UTF-8 has its broken bytes replaced.
//
// The error is the contract's: denied when something was not granted or not
// legal, before or, at a redirect, after something was sent; timeout when
// TimeoutMS or the host's own bound passed; too-large for request or response;
// network for everything else. Its text holds no secret and no address.
func (c *Client) Send(ctx context.Context, req world.Request) (world.Response, *world.HTTPError) {
	a := Attempt{Method: req.Method}
	if len(a.Method) > maxQuoted {
		a.Method = a.Method[:maxQuoted]
	}
	resp, err := c.send(ctx, req, &a)
	if err != nil {
		a.Err = c.httpError(ctx, err)
		resp = world.Response{}
	} else {
		a.Status = int(resp.Status)
	}
	if c.observe != nil {
		c.observe(a)
	}
	return resp, a.Err
}

func (c *Client) send(ctx context.Context, req world.Request, a *Attempt) (world.Response, error) {
	h, err := firstHop(req)
	if err != nil {
		return world.Response{}, denial(err.Error())
	}
	timeout := c.timeout
	if asked := time.Duration(req.TimeoutMS) * time.Millisecond; asked > 0 {
		timeout = min(timeout, asked)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	for {
		a.Origin = c.scrubber().scrubString(h.origin.String())
		resp, err := c.roundTrip(ctx, h, a)
		if err != nil {
			return world.Response{}, err
		}
		next, err := h.redirect(resp.StatusCode, resp.Header.Get("Location"))
		if err != nil {
			resp.Body.Close()
			return world.Response{}, denial("redirect refused: " + err.Error())
		}
		if next == nil {
			return c.response(resp, a)
		}
		// A connection is worth keeping when little is left to read from it.
		io.CopyN(io.Discard, resp.Body, maxDrain)
		resp.Body.Close()
		if a.Hops > MaxRedirects {
			return world.Response{}, denial(fmt.Sprintf("more than %d redirects", MaxRedirects))
		}
		h = next
	}
}

// roundTrip sends one hop.
func (c *Client) roundTrip(ctx context.Context, h *hop, a *Attempt) (*http.Response, error) {
	r := c.routes[h.origin]
	if r == nil {
		if a.Hops > 0 {
			return nil, denial(fmt.Sprintf("redirect to %s, which is not granted", h.origin))
		}
		return nil, denial(h.origin.String() + " is not granted")
	}
	if c.offline {
		return nil, denial("carl is offline")
	}
	if a.Sent+int64(len(h.body)) > c.maxRequest {
		return nil, errTooLarge
	}
	// The hop's own fields stay as the plugin set them: the next hop starts
	// from those, not from what was added for this origin.
	header := h.header.Clone()
	if err := c.inject(r, header); err != nil {
		return nil, denial(err.Error())
	}
	header.Set("Accept-Encoding", "identity")
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", userAgent)
	}
	req := (&http.Request{
		Method:     h.method,
		URL:        h.url,
		Host:       h.origin.hostField(),
		Header:     header,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
	}).WithContext(ctx)
	if len(h.body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(h.body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(h.body)), nil }
		req.ContentLength = int64(len(h.body))
	}
	a.Hops++
	a.Sent += int64(len(h.body))
	resp, err := r.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body.Close()
		return nil, errors.New("the destination changed the protocol")
	}
	// Nothing but identity was accepted, and in a compressed body an echoed
	// secret would not be found.
	for _, coding := range resp.Header["Content-Encoding"] {
		if !strings.EqualFold(strings.TrimSpace(coding), "identity") && strings.TrimSpace(coding) != "" {
			resp.Body.Close()
			return nil, errors.New("the destination encoded its answer although that was not asked for")
		}
	}
	return resp, nil
}

// response reads the answer that the plugin gets.
func (c *Client) response(resp *http.Response, a *Attempt) (world.Response, error) {
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 999 {
		return world.Response{}, errors.New("the answer has no proper status")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.maxResponse+1))
	a.Received = int64(len(body))
	if err != nil {
		return world.Response{}, err
	}
	if int64(len(body)) > c.maxResponse {
		return world.Response{}, errTooLarge
	}
	s := c.scrubber()
	scrubbed := s.scrub(body)
	changed := !bytes.Equal(scrubbed, body)
	out := world.Response{Status: uint16(resp.StatusCode), Body: scrubbed}
	for name, values := range resp.Header {
		switch name {
		case "Set-Cookie", "Set-Cookie2", "Connection", "Keep-Alive", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
			continue
		case "Content-Length":
			if changed {
				continue
			}
		}
		if s.scrubString(name) != name {
			continue
		}
		for _, v := range values {
			out.Headers = append(out.Headers, world.Header{
				Name:  strings.ToValidUTF8(name, "\uFFFD"),
				Value: strings.ToValidUTF8(s.scrubString(v), "\uFFFD"),
			})
		}
	}
	slices.SortStableFunc(out.Headers, func(x, y world.Header) int { return strings.Compare(x.Name, y.Name) })
	return out, nil
}

// httpError says in the contract's terms what went wrong.
func (c *Client) httpError(ctx context.Context, err error) *world.HTTPError {
	var (
		denied  denial
		netErr  net.Error
		timeout = errors.Is(err, context.DeadlineExceeded) || errors.As(err, &netErr) && netErr.Timeout()
	)
	switch {
	case errors.As(err, &denied):
		return &world.HTTPError{Kind: world.HTTPDenied, Text: c.text(string(denied))}
	case errors.Is(err, errTooLarge):
		return &world.HTTPError{Kind: world.HTTPTooLarge}
	case ctx.Err() == context.Canceled:
		return &world.HTTPError{Kind: world.HTTPNetwork, Text: "the request was cancelled"}
	case timeout:
		return &world.HTTPError{Kind: world.HTTPTimeout}
	case strings.Contains(err.Error(), "server response headers exceeded"):
		// net/http has no error value for it.
		return &world.HTTPError{Kind: world.HTTPTooLarge}
	}
	return &world.HTTPError{Kind: world.HTTPNetwork, Text: c.text(reason(err))}
}

// reason puts an error of the network into words. The error's own text stays
// out where there are words for it: it names addresses that are no plugin's business.
func reason(err error) string {
	var (
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &dns):
		return "the host could not be resolved"
	case errors.As(err, &host):
		return "TLS: the certificate is for another host"
	case errors.As(err, &unknown):
		return "TLS: the certificate is signed by an authority that is not trusted"
	case errors.As(err, &cert):
		return "TLS: the certificate is not valid"
	case errors.As(err, &record):
		return "TLS: the destination does not speak it"
	case errors.As(err, &alert):
		return "TLS: " + alert.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return "the host cannot be reached"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before the answer was complete"
	case errors.As(err, &op):
		return "the connection failed at " + op.Op
	}
	return err.Error()
}

// text makes an error's text fit for a plugin and a log: no secret, one line,
// bounded.
func (c *Client) text(s string) string {
	s = c.scrubber().scrubString(s)
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
