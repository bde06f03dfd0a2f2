package egress

import "net/netip"

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
