package standin

import (
	"fmt"
	"net/url"
	"time"
)

const (
	// licenseLife is how long a licence is valid where nothing else is asked for.
	licenseLife = 720 * time.Hour
	licenseType = "carl-offline+jwt"
	// installIDDigits is the length of an install id, in lowercase hex digits.
	installIDDigits = 32
)

// LicenseOptions say what stands in a licence. The zero value is one of the
// current tier, for every installation, that ends in 720 h.
type LicenseOptions struct {
	// Tier is the tier; "" is the current one. A text that names none is
	// signed as well: no platform would, and carl must stand it.
	Tier string
	// For is when the licence ends, from now on; 0 is 720 h, and less than 0
	// makes one that has ended.
	For time.Duration
	// Issued is how long ago it was issued, and became valid; less than 0 is
	// in the future. One that would end before it was issued was issued 720 h
	// before its end.
	Issued time.Duration
	// InstallID is the only installation that it is for; "" is every one.
	InstallID string
}

// License signs a licence with the offline root and returns it, a compact JWS.
func (s *Server) License(o LicenseOptions) string {
	if o.For == 0 {
		o.For = licenseLife
	}
	return s.issuer.license(o)
}

// license takes o.For as it is.
func (i *issuer) license(o LicenseOptions) string {
	now := i.clock()
	st := i.current()
	if o.Tier == "" {
		o.Tier = st.Tier
	}
	exp := now.Add(o.For)
	iat := now.Add(-o.Issued)
	if !iat.Before(exp) {
		iat = exp.Add(-licenseLife)
	}
	c := st.claims(i.iss, o.Tier, now.Unix(), iat.Unix(), exp.Unix())
	c.InstallID = o.InstallID
	return compact(st.OfflineRoot, "", licenseType, c)
}

// postLicense answers a licence, as text and with a line end, to be put into a file.
func (s *Server) postLicense(c *call) answer {
	members, err := c.only("tier", "for", "issued", "install_id")
	if err != nil {
		return refuseChange(err)
	}
	o, err := licenseOptions(members)
	if err != nil {
		return refuseChange(err)
	}
	return answer{status: 200, contentType: "text/plain; charset=utf-8", body: []byte(s.issuer.license(o) + "\n")}
}

func licenseOptions(members url.Values) (o LicenseOptions, err error) {
	if members.Has("tier") {
		o.Tier = members.Get("tier")
		if err := checkTier(o.Tier); err != nil {
			return o, err
		}
	}
	o.For = licenseLife
	if members.Has("for") {
		if o.For, err = parseSpan(members.Get("for")); err != nil {
			return o, err
		}
	}
	if members.Has("issued") {
		if o.Issued, err = parseSpan(members.Get("issued")); err != nil {
			return o, err
		}
		if o.Issued+o.For <= 0 {
			return o, illegal("the licence would end before it was issued")
		}
	}
	if members.Has("install_id") {
		o.InstallID = members.Get("install_id")
		if !isHex(o.InstallID, installIDDigits) {
			return o, illegal(fmt.Sprintf("an install_id is %d lowercase hex digits", installIDDigits))
		}
	}
	return o, nil
}

// parseSpan reads a duration, back or ahead.
func parseSpan(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d.Abs() > maxSpan {
		return 0, illegal(fmt.Sprintf("%.40q is not a duration such as 15m, 1h30m or 720h, of at most %v", text, maxSpan))
	}
	return d, nil
}
