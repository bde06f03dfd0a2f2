package egress

import (
	"net/netip"
	"testing"
)

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		class class
		ips   []string
	}{
		{public, []string{
			"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
			"172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255",
			"2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
		}},
		{nearby, []string{
			"10.0.0.1", "10.255.255.255", "127.0.0.1", "127.255.255.254", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.0.1",
			"100.64.0.1", "100.127.255.255", "198.18.0.1", "198.19.255.255",
			"::1", "fc00::1", "fdff::1", "fe80::1", "febf::1", "fe80::1%eth0", "fec0::1",
			"::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1",
		}},
		{closed, []string{
			"169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "64:ff9b::169.254.169.254", "::ffff:169.254.169.254",
			"0.0.0.0", "0.1.2.3", "192.0.0.8", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
			"::", "::127.0.0.1", "ff02::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::1", "2002:0a00:0001::", "3fff::1", "64:ff9b:1::10.0.0.1", "100::1", "4000::1", "5f00::1",
		}},
	} {
		for _, s := range c.ips {
			if got := classify(netip.MustParseAddr(s)); got != c.class {
				t.Errorf("%s is of class %d, want %d", s, got, c.class)
			}
		}
	}
}

func TestGrantAllows(t *testing.T) {
	grant := func(origin string, private bool) Grant { return Grant{Origin: mustOrigin(t, origin), Private: private} }
	for _, c := range []struct {
		grant Grant
		ip    string
		ok    bool
	}{
		{grant("https://a.example", false), "8.8.8.8", true},
		{grant("https://a.example", false), "127.0.0.1", false},
		{grant("https://a.example", false), "10.0.0.1", false},
		{grant("https://a.example", false), "::ffff:10.0.0.1", false},
		{grant("https://a.example", false), "fe80::1", false},
		{grant("https://a.example", false), "169.254.169.254", false},
		{grant("https://a.example", true), "127.0.0.1", true},
		{grant("https://a.example", true), "10.0.0.1", true},
		{grant("https://a.example", true), "169.254.1.1", true},
		{grant("https://a.example", true), "169.254.169.254", false},
		{grant("https://a.example", true), "224.0.0.1", false},
		{grant("https://a.example", true), "0.0.0.0", false},
		{grant("http://localhost", false), "127.0.0.1", false},
		{grant("http://localhost", true), "127.0.0.1", true},
		{grant("http://localhost", true), "::1", true},
		{grant("http://localhost", true), "10.0.0.1", false},
		{grant("http://localhost", true), "8.8.8.8", false},
		{grant("https://10.0.0.1", false), "10.0.0.1", true},
		{grant("https://10.0.0.1", true), "10.0.0.2", false},
		{grant("https://169.254.169.254", false), "169.254.169.254", true},
		{grant("http://127.0.0.1", false), "127.0.0.2", false},
	} {
		err := c.grant.allows(netip.MustParseAddr(c.ip))
		if (err == nil) != c.ok {
			t.Errorf("%+v at %s: %v", c.grant, c.ip, err)
		}
	}
}

func mustOrigin(t testing.TB, s string) Origin {
	t.Helper()
	o, err := ParseOrigin(s)
	if err != nil {
		t.Fatalf("ParseOrigin(%q): %v", s, err)
	}
	return o
}
