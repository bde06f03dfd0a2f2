package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
)

const managed = "train.slime.managed"

// showEntitlements asks the platform what was paid for, and asks the gate.
func (d *demo) showEntitlements(ctx context.Context) error {
	say("what was paid for: signed by the platform, verified here, kept for when it cannot be asked")
	if err := d.shown(ctx, "entitlements", "show", "--refresh"); err != nil {
		return err
	}
	return d.shown(ctx, "gate", "check", managed, "--remote")
}

// showGrace takes the platform away, and then lets it come back with another
// key under the same name.
func (d *demo) showGrace(ctx context.Context) error {
	say("the platform is gone: the gate goes on for a day, and never waits for it")
	d.stopPlatform()
	if err := d.shown(ctx, "gate", "check", managed, "--remote"); err != nil {
		return err
	}

	say("it is back, and signs with another key under the old name, as an attacker would: refused")
	if err := d.startPlatform(ctx, strings.TrimPrefix(d.url, "http://")); err != nil {
		return err
	}
	if err := d.admin(ctx, "keys/swap"); err != nil {
		return err
	}
	if err := d.refused(ctx, "carl.entitlements.jwks_stale", "entitlements", "show", "--refresh"); err != nil {
		return err
	}
	say("what was verified before still stands")
	return d.shown(ctx, "gate", "check", managed, "--remote")
}

// shown runs carl and shows what it prints.
func (d *demo) shown(ctx context.Context, args ...string) error {
	out, err := d.run(ctx, "", args...)
	if err == nil {
		d.indent(out)
	}
	return err
}

// refused runs carl, which must fail, and say code.
func (d *demo) refused(ctx context.Context, code string, args ...string) error {
	echo(d.short(strings.Join(append([]string{"carl"}, args...), " ")))
	cmd := exec.CommandContext(ctx, d.carl, args...)
	cmd.Env = d.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_, err := cmd.Output()
	d.indent(stderr.Bytes())
	if failed := (*exec.ExitError)(nil); !errors.As(err, &failed) {
		return fmt.Errorf("carl %s was to be refused, and: %v", strings.Join(args, " "), err)
	}
	if !strings.Contains(stderr.String(), code) {
		return fmt.Errorf("carl %s was refused for another reason than %s", strings.Join(args, " "), code)
	}
	return nil
}

// admin makes one of the calls that `carl camp dev --help` lists.
func (d *demo) admin(ctx context.Context, call string) error {
	echo("curl", "-X", "POST", "-H", `"Authorization: Bearer $TOKEN"`, "$URL/dev/"+call)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/dev/"+call, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+d.tok)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the stand-in answered %s to %s", resp.Status, call)
	}
	return nil
}
