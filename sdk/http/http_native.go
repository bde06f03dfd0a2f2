//go:build !wasip1

package http

// send denies in a native build: there is no host behind it.
func send(*Request) (*Response, error) {
	return nil, &Error{Kind: Denied, Text: "this build of the plugin has no carl behind it"}
}
