package egress

import (
	"context"

	"carl.camp/carl/host/world"
)

// New makes the client for one plugin. The error is a *[fault.Error] with code
// [fault.PluginGrantDenied] when a grant or secret is not legal, or
// [fault.ConfigInvalid] for Proxy and CAFile.
func New(cfg Config) (*Client, error) {
	return &Client{}, nil
}

// Send does one request. The error kinds are those of the contract.
func (c *Client) Send(ctx context.Context, req world.Request) (world.Response, *world.HTTPError) {
	return world.Response{}, &world.HTTPError{Kind: world.HTTPNetwork, Text: "not built yet"}
}

// SecretHeader reports whether a secret may travel in the field of that name.
func SecretHeader(name string) bool { return false }

type needle struct{}
