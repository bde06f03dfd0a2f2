package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carl.camp/carl/host"
	"carl.camp/carl/host/entitle"
	"carl.camp/carl/host/fault"
)

func (a *app) entitlementsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "entitlements",
		Short: "Show and refresh what the platform granted, import licences, look after its keys",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.entitlementsShowCmd(), a.entitlementsImportCmd(), a.entitlementsVerifyCmd(),
		a.entitlementsKeysCmd(), a.entitlementsRepinCmd(), a.entitlementsInstallIDCmd())
	return cmd
}

type entitlementsShowOptions struct {
	refresh bool
	json    bool
}

func (a *app) entitlementsShowCmd() *cobra.Command {
	var o entitlementsShowOptions
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show status, tier, grants, key and age of the entitlements",
		Long: `Shows what the platform granted, as far as it is known here: status, tier, grants,
the key that signed, and the age. Without --refresh the network is not touched.

  fresh                  at most 15 minutes old
  stale                  at most an hour old
  offline_grace          at most 24 hours old: the cache stands in for the platform
  offline_grace_expired  older, or taken back by the platform: it counts for nothing
  offline_license        an imported licence holds until its own end
  missing, corrupt       there is none, or none that can be used

With --refresh the platform is asked first. If that fails, the error and its exit
status are reported, and what the cache says is shown all the same.`,
		Example: `  carl entitlements show
  carl entitlements show --refresh --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.entitlementsShow(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&o.refresh, "refresh", false, "ask the platform first")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func (a *app) entitlementsShow(ctx context.Context, o entitlementsShowOptions) error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	var state entitle.State
	if o.refresh {
		state, err = h.RefreshEntitlements(ctx)
		a.debugCheck(err)
	} else {
		state = h.Entitlements()
	}
	if state.Status == entitle.Corrupt && err == nil {
		err = state.Err
	}
	if state.Aside != "" {
		a.warn("the damaged cache of entitlements was moved to %s", state.Aside)
	}
	if o.json {
		if werr := writeJSON(a.stdout, entitlementsJSON(h.Config().Tier, &state)); werr != nil && err == nil {
			err = werr
		}
	} else {
		a.printEntitlements(h, &state, err != nil)
	}
	a.warnOfLicense(&state)
	return err
}

// grantJSON is one grant, for programs.
type grantJSON struct {
	Key       string `json:"key"`
	GrantedAt string `json:"granted_at,omitempty"`
	ExpiresAt string `json:"expires_at,omitempty"`
}

func grantsJSON(grants []entitle.Grant) []grantJSON {
	rows := make([]grantJSON, 0, len(grants))
	for _, g := range grants {
		rows = append(rows, grantJSON{g.Key, rfc3339(g.GrantedAt), rfc3339(g.ExpiresAt)})
	}
	return rows
}

// entitlementsOut is carl.entitlements/1. What is not known is null.
type entitlementsOut struct {
	Schema    string      `json:"schema"`
	Status    string      `json:"status"`
	Tier      string      `json:"tier"`
	TierLabel string      `json:"tier_label"`
	Grants    []grantJSON `json:"grants"`
	KeyID     *string     `json:"key_id"`
	Age       *int64      `json:"age_s"`
	IssuedAt  *string     `json:"issued_at"`
	ExpiresAt *string     `json:"expires_at"`
	CachedAt  *string     `json:"cached_at"`
	Reason    string      `json:"reason,omitempty"`
}

// entitlementsJSON tells the state for programs: the tier and the grants that
// hold now, else the declared tier, and of the token or licence also what no longer holds.
func entitlementsJSON(declared string, s *entitle.State) entitlementsOut {
	out := entitlementsOut{Schema: "carl.entitlements/1", Status: string(s.Status), Tier: declared, Grants: []grantJSON{}, Reason: whyNot(s)}
	if t := s.Granting(); t != nil {
		out.Tier, out.TierLabel, out.Grants = t.Tier, t.TierLabel, grantsJSON(t.Grants)
	}
	told, cached, age := s.Token, s.FetchedAt, s.Age
	if s.Status == entitle.License {
		told, cached, age = s.License, s.ImportedAt, s.Now().Sub(s.License.IssuedAt)
	}
	if told != nil {
		seconds := int64(age / time.Second)
		issued, expires, at := rfc3339(told.IssuedAt), rfc3339(told.ExpiresAt), rfc3339(cached)
		out.Age, out.IssuedAt, out.ExpiresAt, out.CachedAt = &seconds, &issued, &expires, &at
		if told.KeyID != "" {
			out.KeyID = &told.KeyID
		}
	}
	return out
}

// whyNot says why something that is there does not count; "" where nothing is
// amiss.
func whyNot(s *entitle.State) string {
	var reasons []string
	for _, err := range []error{s.Err, s.LicenseErr} {
		if err != nil {
			reasons = append(reasons, reason(err))
		}
	}
	if s.EndedBy != "" {
		reasons = append(reasons, fmt.Sprintf("the platform took the entitlements back (%s)", s.EndedBy))
	}
	return strings.Join(reasons, "; ")
}

func (a *app) printEntitlements(h *host.Host, s *entitle.State, failed bool) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(a.stdout, "%-9s %s\n", name+":", printable(fmt.Sprintf(format, args...)))
	}
	line("status", "%s", s.Status)
	if t := s.Granting(); t != nil {
		label := ""
		if t.TierLabel != "" {
			label = " (" + t.TierLabel + ")"
		}
		line("tier", "%s%s", t.Tier, label)
		if len(t.Grants) == 0 {
			line("grants", "none beside the tier")
		}
		for _, g := range t.Grants {
			until := ""
			if !g.ExpiresAt.IsZero() {
				until = ", until " + rfc3339(g.ExpiresAt)
			}
			line("grant", "%s%s", g.Key, until)
		}
	} else {
		line("tier", "%s, as config.yaml declares or by default", h.Config().Tier)
	}
	switch {
	case s.Status == entitle.License:
		line("issued", "%s", rfc3339(s.License.IssuedAt))
		line("until", "%s", rfc3339(s.License.ExpiresAt))
	case s.Token != nil:
		line("key", "%s", s.Token.KeyID)
		line("issued", "%s, %s ago", rfc3339(s.Token.IssuedAt), roughly(s.Age))
		if end := s.Ends(); !end.IsZero() {
			line("offline", "holds until %s without the platform", rfc3339(end))
		}
	}
	if why := whyNot(s); why != "" {
		line("reason", "%s", why)
	}
	if s.Granting() == nil && !failed {
		fmt.Fprintln(a.stderr, "hint: `carl entitlements show --refresh` asks the platform, once you are logged in; `carl entitlements import FILE` takes an offline licence")
	}
}

// roughly is a duration in two units, for people.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return count(int(d.Hours()/24), "day")
}

// rfc3339 is a time for programs and people alike; "" for none.
func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// warnOfLicense says when the licence that holds ends soon.
func (a *app) warnOfLicense(s *entitle.State) {
	if within := s.LicenseEndsWithin(); within > 0 {
		a.warn("the offline licence ends within %s, on %s; `carl entitlements import FILE` takes the next one", count(int(within/(24*time.Hour)), "day"), rfc3339(s.License.ExpiresAt))
	}
}

// debugCheck tells the debug log, and nobody else, which check a token failed.
func (a *app) debugCheck(err error) {
	var r *entitle.Rejection
	if errors.As(err, &r) {
		a.logger().Debug("verification failed", "check", string(r.Check))
	}
}

// maxTokenFile bounds a file with a token: the longest has 8 KiB.
const maxTokenFile = 64 << 10

// readTokenFile reads a file that holds one token; the line end behind it is
// the editor's.
func (a *app) readTokenFile(ctx context.Context, name string) (string, error) {
	data, err := a.readSmallFile(ctx, name)
	return strings.TrimRight(string(data), "\r\n"), err
}

func (a *app) readSmallFile(ctx context.Context, name string) ([]byte, error) {
	in, err := a.openInput(ctx, name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxTokenFile+1))
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, fault.New(fault.IO, "%s: %w", name, err).WithKept("nothing was done")
	}
	if len(data) > maxTokenFile {
		return nil, fault.New(fault.Usage, "%s is larger than any token or key set (%d bytes)", name, maxTokenFile).WithKept("nothing was done")
	}
	return data, nil
}

func (a *app) entitlementsImportCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Verify an offline licence and keep it",
		Long: `Verifies a licence for a site that never asks the network, and keeps it: a JWS of
type carl-offline+jwt, signed by the offline root key that config.yaml names as
offline_root or that the build has inside. It holds until its own end; carl says
30, 7 and 1 days before. A licence that is imported later takes its place.`,
		Example: `  carl entitlements import licence.jwt`,
		Args:    oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.entitlementsImport(cmd.Context(), args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) entitlementsImport(ctx context.Context, name string, asJSON bool) error {
	license, err := a.readTokenFile(ctx, name)
	if err != nil {
		return err
	}
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	state, err := h.ImportLicense(license)
	if err != nil {
		a.debugCheck(err)
		return nothingImported(err)
	}
	if asJSON {
		err = writeJSON(a.stdout, entitlementsJSON(h.Config().Tier, &state))
	} else {
		fmt.Fprintf(a.stderr, "carl: the licence is kept, and holds until %s\n", rfc3339(state.License.ExpiresAt))
	}
	a.warnOfLicense(&state)
	return err
}

// nothingImported adds what was left untouched, and a hint that fits licences.
func nothingImported(err error) error {
	var e *fault.Error
	if !errors.As(err, &e) {
		return err
	}
	e = e.WithKept("what was imported before is kept")
	if e.Code == fault.EntitlementsSignatureInvalid {
		e = e.WithHint("check that the file is a licence for the `offline_root` of config.yaml, and this machine's clock; --log-level debug says which check failed")
	}
	return e
}

func (a *app) entitlementsVerifyCmd() *cobra.Command {
	var o struct {
		jwks string
		json bool
	}
	cmd := &cobra.Command{
		Use:   "verify FILE|-",
		Short: "Verify a token or a licence, without the network and without keeping it",
		Long: `Verifies a token of the platform against the pinned keys, or against a key set in a
file with --jwks, or a licence against the offline root key, as if it came now,
and shows what it says. Nothing is kept, and the network is not touched.`,
		Example: `  carl entitlements verify licence.jwt
  carl entitlements verify token.jwt --jwks keys.json --json`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.entitlementsVerify(cmd.Context(), args[0], o.jwks, o.json)
		},
	}
	cmd.Flags().StringVar(&o.jwks, "jwks", "", "verify against the JSON Web Key Set in `FILE`")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func (a *app) entitlementsVerify(ctx context.Context, name, jwks string, asJSON bool) error {
	token, err := a.readTokenFile(ctx, name)
	if err != nil {
		return err
	}
	var keys []byte
	if jwks != "" {
		if keys, err = a.readSmallFile(ctx, jwks); err != nil {
			return err
		}
	}
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	t, license, err := h.InspectToken(token, keys)
	if err != nil {
		a.debugCheck(err)
		return err
	}
	kind := "token"
	if license {
		kind = "licence"
	}
	if asJSON {
		return writeJSON(a.stdout, struct {
			Schema    string      `json:"schema"`
			Kind      string      `json:"kind"`
			KeyID     string      `json:"key_id,omitempty"`
			Issuer    string      `json:"issuer"`
			Subject   string      `json:"subject"`
			Tier      string      `json:"tier"`
			TierLabel string      `json:"tier_label"`
			Grants    []grantJSON `json:"grants"`
			InstallID string      `json:"install_id,omitempty"`
			IssuedAt  string      `json:"issued_at"`
			ExpiresAt string      `json:"expires_at"`
		}{"carl.entitlements.verify/1", kind, t.KeyID, t.Issuer, t.Subject, t.Tier, t.TierLabel, grantsJSON(t.Grants),
			t.InstallID, rfc3339(t.IssuedAt), rfc3339(t.ExpiresAt)})
	}
	rows := [][]string{{"kind", kind}, {"issuer", t.Issuer}, {"subject", t.Subject}, {"tier", t.Tier},
		{"issued", rfc3339(t.IssuedAt)}, {"until", rfc3339(t.ExpiresAt)}}
	if t.KeyID != "" {
		rows = append(rows, []string{"key", t.KeyID})
	}
	if t.InstallID != "" {
		rows = append(rows, []string{"for installation", t.InstallID})
	}
	for _, g := range t.Grants {
		rows = append(rows, []string{"grant", strings.TrimSuffix(g.Key+" until "+rfc3339(g.ExpiresAt), " until ")})
	}
	table(a.stdout, []string{"VERIFIED", ""}, rows)
	return nil
}

func (a *app) entitlementsKeysCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "keys",
		Short:   "List the platform's pinned keys, with their thumbprints",
		Long:    "Lists the platform's keys that are pinned here, and those that were withdrawn, with their thumbprints (RFC 7638). The network is not touched.",
		Example: "  carl entitlements keys --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			h, err := a.openHost()
			if err != nil {
				return err
			}
			defer h.Close()
			state := h.Entitlements()
			if state.PinErr != nil {
				return state.PinErr
			}
			return a.printKeys(state.Pin, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) printKeys(pin *entitle.Pin, asJSON bool) error {
	type key struct {
		ID         string `json:"kid"`
		Thumbprint string `json:"jkt"`
		Active     bool   `json:"active"`
		AddedAt    string `json:"added_at"`
		RemovedAt  string `json:"removed_at,omitempty"`
	}
	keys := []key{}
	url, pinnedAt := "", ""
	if pin != nil {
		url, pinnedAt = pin.URL, rfc3339(pin.PinnedAt)
		for _, k := range pin.Keys {
			keys = append(keys, key{k.ID, entitle.Thumbprint(k.Public), k.Active(), rfc3339(k.AddedAt), rfc3339(k.RemovedAt)})
		}
	}
	if asJSON {
		return writeJSON(a.stdout, struct {
			Schema   string `json:"schema"`
			URL      string `json:"url,omitempty"`
			PinnedAt string `json:"pinned_at,omitempty"`
			Keys     []key  `json:"keys"`
		}{"carl.entitlements.keys/1", url, pinnedAt, keys})
	}
	if len(keys) == 0 {
		a.warn("no keys are pinned yet; `carl entitlements show --refresh` pins the first it finds")
		return nil
	}
	var rows [][]string
	for _, k := range keys {
		state := "active"
		if !k.Active {
			state = "withdrawn " + k.RemovedAt
		}
		rows = append(rows, []string{k.ID, k.Thumbprint, state, k.AddedAt})
	}
	table(a.stdout, []string{"KEY", "THUMBPRINT", "STATE", "SINCE"}, rows)
	return nil
}

func (a *app) entitlementsRepinCmd() *cobra.Command {
	var o struct {
		expect []string
		json   bool
	}
	cmd := &cobra.Command{
		Use:   "repin --expect THUMBPRINT",
		Short: "Pin the platform's keys anew, after comparing them with what it announced",
		Long: `Asks the platform for its keys and pins them in place of those that are pinned, if
the key with the given thumbprint (RFC 7638) is among them. Take the thumbprint from
what the platform announced, and not from the server that you want to check. With
strict_pinning only the keys that you name are pinned; name several with several
--expect. Keys that were withdrawn before stay withdrawn, unless you name them.`,
		Example: `  carl entitlements repin --expect NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.entitlementsRepin(cmd.Context(), o.expect, o.json)
		},
	}
	cmd.Flags().StringArrayVar(&o.expect, "expect", nil, "the `THUMBPRINT` of a key that the platform announced")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func (a *app) entitlementsRepin(ctx context.Context, expect []string, asJSON bool) error {
	if len(expect) == 0 {
		return fault.New(fault.Usage, "which key do you expect? --expect is missing").WithKept("the pinned keys were kept").
			WithHint("run `carl entitlements repin --expect THUMBPRINT` with the thumbprint that the platform announced")
	}
	for _, jkt := range expect {
		if !entitle.IsThumbprint(jkt) {
			return fault.New(fault.Usage, "--expect %q is not the thumbprint of a key: 43 characters of base64url", jkt).WithKept("the pinned keys were kept")
		}
	}
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	pin, err := h.RepinKeys(ctx, expect...)
	if err != nil {
		a.debugCheck(err)
		return err
	}
	fmt.Fprintln(a.stderr, "carl: the platform's keys are pinned anew; `carl entitlements show --refresh` asks for entitlements")
	return a.printKeys(pin, asJSON)
}

func (a *app) entitlementsInstallIDCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "install-id",
		Short:   "Show the id of this installation, which a licence may be made for",
		Long:    "Shows the id of this installation, and makes one where there is none yet. A licence that is bound to it counts here alone.",
		Example: "  carl entitlements install-id",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			hm, err := a.openHome()
			if err != nil {
				return err
			}
			id, err := hm.InstallID()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, id)
			return err
		},
	}
}
