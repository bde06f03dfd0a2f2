package egress

import (
	"fmt"
	"net/netip"
)

// class is what an address is to a plugin.
type class uint8

const (
	// public addresses are anybody's.
	public class = iota
	// nearby addresses are this machine's and its networks': only for a grant
	// that names the address or is private.
	nearby
	// closed addresses are metadata services and what no host should have:
	// only for a grant that names the address.
	closed
)

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// special lists what is not public. The first prefix that holds an address
// decides. Sources: the IANA special-purpose address registries for IPv4 and
// IPv6 (RFC 6890 and its updates), and the clouds' documentation for the
// metadata services.
var special = []struct {
	prefix netip.Prefix
	class  class
}{
	{netip.MustParsePrefix("169.254.169.254/32"), closed}, // metadata: AWS, GCP, Azure, OpenStack, …
	{netip.MustParsePrefix("169.254.170.0/24"), closed},   // metadata: container credentials of AWS
	{netip.MustParsePrefix("100.100.100.200/32"), closed}, // metadata: Alibaba
	{netip.MustParsePrefix("168.63.129.16/32"), closed},   // metadata: Azure's host, on a public address
	{netip.MustParsePrefix("192.0.0.192/32"), closed},     // metadata: Oracle
	{netip.MustParsePrefix("fd00:ec2::/32"), closed},      // metadata: AWS
	{netip.MustParsePrefix("fd20:ce::254/128"), closed},   // metadata: GCP
	{netip.MustParsePrefix("0.0.0.0/8"), closed},          // this network; Linux takes it for loopback
	{netip.MustParsePrefix("10.0.0.0/8"), nearby},         // RFC 1918
	{netip.MustParsePrefix("100.64.0.0/10"), nearby},      // carrier-grade NAT
	{netip.MustParsePrefix("127.0.0.0/8"), nearby},        // loopback
	{netip.MustParsePrefix("169.254.0.0/16"), nearby},     // link-local
	{netip.MustParsePrefix("172.16.0.0/12"), nearby},      // RFC 1918
	{netip.MustParsePrefix("192.0.0.0/24"), closed},       // protocol assignments
	{netip.MustParsePrefix("192.0.2.0/24"), closed},       // documentation
	{netip.MustParsePrefix("192.88.99.0/24"), closed},     // 6to4 relays
	{netip.MustParsePrefix("192.168.0.0/16"), nearby},     // RFC 1918
	{netip.MustParsePrefix("198.18.0.0/15"), nearby},      // benchmarks of network devices
	{netip.MustParsePrefix("198.51.100.0/24"), closed},    // documentation
	{netip.MustParsePrefix("203.0.113.0/24"), closed},     // documentation
	{netip.MustParsePrefix("224.0.0.0/4"), closed},        // multicast
	{netip.MustParsePrefix("240.0.0.0/4"), closed},        // reserved, broadcast
	{netip.MustParsePrefix("::1/128"), nearby},            // loopback
	{netip.MustParsePrefix("fc00::/7"), nearby},           // unique local
	{netip.MustParsePrefix("fe80::/10"), nearby},          // link-local
	{netip.MustParsePrefix("fec0::/10"), nearby},          // site-local, deprecated and still routed
	{netip.MustParsePrefix("2001::/23"), closed},          // protocol assignments: Teredo, ORCHID, …
	{netip.MustParsePrefix("2001:db8::/32"), closed},      // documentation
	{netip.MustParsePrefix("2002::/16"), closed},          // 6to4: carries an IPv4 address to anywhere
	{netip.MustParsePrefix("3fff::/20"), closed},          // documentation
	{netip.MustParsePrefix("64:ff9b:1::/48"), closed},     // NAT64 of local use
}

var (
	// nat64 carries an IPv4 address in its last four bytes (RFC 6052). Networks
	// without IPv4 hand out such addresses for every name.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	// global is all of IPv6 that has been given out for use on the internet.
	global = netip.MustParsePrefix("2000::/3")
)

func classify(ip netip.Addr) class {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		return classify(netip.AddrFrom4([4]byte(b[12:])))
	}
	for _, s := range special {
		if s.prefix.Contains(ip) {
			return s.class
		}
	}
	if ip.Is4() || global.Contains(ip) {
		return public
	}
	return closed
}

// allows reports whether the name that g grants may be reached at ip; the
// error says why not, without the address: a plugin is not told how the
// networks around it are numbered.
func (g Grant) allows(ip netip.Addr) error {
	if g.Origin.ip.IsValid() {
		if g.Origin.ip != ip {
			return denial(fmt.Sprintf("%s is granted, and another address was to be dialled", g.Origin))
		}
		return nil
	}
	c := classify(ip)
	switch {
	case c == closed:
		return denial(fmt.Sprintf("%s resolves to an address that is granted only when it is named itself", g.Origin))
	case c == nearby && !g.Private:
		return denial(fmt.Sprintf("%s resolves to a loopback, private or link-local address, and the grant is not private", g.Origin))
	case g.Origin.host == localhost && !ip.Unmap().IsLoopback():
		return denial("localhost resolves to an address that is not loopback")
	}
	return nil
}

// denial is an error that means [world.HTTPDenied].
type denial string

func (d denial) Error() string { return string(d) }
