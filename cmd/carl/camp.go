package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/fault"
)

func (a *app) campCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "camp",
		Short: "Log in to the platform, or run a stand-in of it",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.campLoginCmd(), a.campLogoutCmd(), a.campWhoamiCmd(), a.campDevCmd())
	return cmd
}

func (a *app) campLoginCmd() *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Store the platform's bearer token",
		Long: `Stores the bearer token in the home, readable by you alone. On a terminal it is
asked for without echo; elsewhere give it with --token-stdin. The network is not
touched: whether the platform takes the token shows at the next carl sync. A
destination that was paused because the platform refused an older token resumes.`,
		Example: `  carl camp login
  printf '%s' "$TOKEN" | carl camp login --token-stdin`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.campLogin(cmd.Context(), fromStdin)
		},
	}
	cmd.Flags().BoolVar(&fromStdin, "token-stdin", false, "read the token from standard input")
	return cmd
}

// maxTokenInput bounds what is read as a token; the longest legal one is shorter.
const maxTokenInput = 64 << 10

func (a *app) campLogin(ctx context.Context, fromStdin bool) error {
	hm, err := a.openHome()
	if err != nil {
		return err
	}
	raw, err := a.readHidden(ctx, "bearer token: ", fromStdin, "--token-stdin")
	if err != nil {
		return err
	}
	token, err := camp.ParseToken(raw)
	if err != nil {
		return err
	}
	if err := hm.Create(); err != nil {
		return err
	}
	if err := hm.Credentials().SetToken(token); err != nil {
		return err
	}
	fmt.Fprintln(a.stderr, "carl: logged in; the token is stored in "+hm.Paths.Credentials+"; `carl entitlements show --refresh` fetches what it grants")
	if os.Getenv("CARL_CAMP_TOKEN") != "" {
		a.warn("CARL_CAMP_TOKEN is set, and comes before the stored token")
	}
	return a.resumeAfterLogin(ctx)
}

// readHidden reads a value that must not be shown: from standard input as a
// whole with its flag, else from the terminal without echo.
func (a *app) readHidden(ctx context.Context, prompt string, fromStdin bool, flag string) (string, error) {
	if fromStdin {
		value, err := io.ReadAll(io.LimitReader(newInput(ctx, io.NopCloser(a.stdin), a.stdin), maxTokenInput))
		if err != nil && ctx.Err() == nil {
			err = fault.New(fault.IO, "reading standard input: %w", err)
		}
		return string(value), err
	}
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", fault.New(fault.Usage, "standard input is not a terminal to ask on").
			WithKept("nothing was changed").WithHint("pass %s and pipe the value in", flag)
	}
	return a.askHidden(ctx, int(f.Fd()), prompt)
}

// askHidden asks on a terminal. An interrupt gives the terminal its echo back.
func (a *app) askHidden(ctx context.Context, fd int, prompt string) (string, error) {
	type answer struct {
		value []byte
		err   error
	}
	before, err := term.GetState(fd)
	if err != nil {
		return "", fault.New(fault.IO, "the terminal: %w", err)
	}
	fmt.Fprint(a.stderr, prompt)
	answered := make(chan answer, 1)
	go func() {
		value, err := term.ReadPassword(fd)
		answered <- answer{value, err}
	}()
	select {
	case got := <-answered:
		fmt.Fprintln(a.stderr)
		if got.err != nil {
			return "", fault.New(fault.IO, "reading from the terminal: %w", got.err)
		}
		return string(got.value), nil
	case <-ctx.Done():
		term.Restore(fd, before)
		fmt.Fprintln(a.stderr)
		return "", ctx.Err()
	}
}

func (a *app) campLogoutCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Drop the stored bearer token",
		Long: `Drops the stored bearer token, and the entitlements that the platform granted to its
owner. What waits for the platform stays in the spool, and a licence stays.`,
		Example: "  carl camp logout",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			hm, err := a.openHome()
			if err != nil {
				return err
			}
			dropped, err := hm.Credentials().Drop()
			if err != nil {
				return err
			}
			if dropped {
				fmt.Fprintln(a.stderr, "carl: logged out; what waits for the platform stays in the spool")
			} else {
				fmt.Fprintln(a.stderr, "carl: no token was stored")
			}
			if os.Getenv("CARL_CAMP_TOKEN") != "" {
				a.warn("CARL_CAMP_TOKEN is set, and still counts")
			}
			return a.forgetEntitlements()
		},
	}
}

func (a *app) campWhoamiCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "whoami",
		Short:   "Show which platform and which token are in use",
		Long:    "Shows which platform and which token are in use, without the token itself and without asking the network.",
		Example: "  carl camp whoami --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.campWhoami(asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) campWhoami(asJSON bool) error {
	hm, err := a.openHome()
	if err != nil {
		return err
	}
	config, err := hm.Config(os.Environ())
	if err != nil {
		return err
	}
	token, err := hm.Credentials().Token(os.Environ())
	if err != nil {
		return err
	}
	loggedIn := token.Value != ""
	if asJSON {
		out := struct {
			Schema   string `json:"schema"`
			LoggedIn bool   `json:"logged_in"`
			URL      string `json:"url"`
			Source   string `json:"source,omitempty"`
			SavedAt  string `json:"saved_at,omitempty"`
		}{Schema: "carl.camp.whoami/1", LoggedIn: loggedIn, URL: config.Camp.URL, Source: token.Source}
		if !token.SavedAt.IsZero() {
			out.SavedAt = token.SavedAt.UTC().Format(time.RFC3339)
		}
		if err := writeJSON(a.stdout, out); err != nil {
			return err
		}
	} else if loggedIn {
		fmt.Fprintf(a.stdout, "platform: %s\ntoken:    from %s\n", config.Camp.URL, token.Source)
	}
	if !loggedIn {
		return fault.New(fault.CampUnauthorized, "not logged in to %s", config.Camp.URL)
	}
	return nil
}
