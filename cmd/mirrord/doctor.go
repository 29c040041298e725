package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mirrord/internal/admin"
	"mirrord/internal/config"
	"mirrord/internal/doctor"
)

func newDoctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check what the mirror needs, and say what to do about what is wrong",
		Long: `Check what the mirror needs, and say what to do about what is wrong: the configuration, whether
the mirror responds, the disk of the cache, file descriptors, whether upstreams respond and accept each
login, whether large responses arrive, the clock, pull limits, and the bucket of a fleet. A running mirror
checks this itself, with its own network, logins and files; without one this command does, as this user.
Then it looks at how Docker, containerd and podman on this host are configured. No check spends a pull. The
exit status is 1 if a check failed, also that of the configuration; warnings do not count. Without --config
and MIRRORD_CONFIG the file of the service is read, /etc/mirrord/mirrord.yaml, if it exists and no mirror of
this user runs.`,
		Args: refuse(cobra.NoArgs),
	}
	asJSON := c.Flags().Bool("json", false, "print a line of JSON for each check")
	config.AddFlags(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, stop := untilInterrupted(c.Context())
		defer stop()
		c.SetContext(ctx)
		done, failed := 0, 0
		var broken error
		diagnose(c, func(check doctor.Check) {
			if ctx.Err() != nil {
				return // what a check finds then is the end of ctx
			}
			done++
			if check.State == doctor.Fail {
				failed++
			}
			broken = errors.Join(broken, writeCheck(c.OutOrStdout(), check, *asJSON))
		})
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted after %s, %d failed", plural(done, "check"), failed)
		}
		if broken == nil && failed > 0 {
			return fmt.Errorf("%d of the checks failed", failed)
		}
		return broken
	}
	return c
}

// writeCheck writes a check, as a line of text with what to do below it, or as JSON.
func writeCheck(w io.Writer, c doctor.Check, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(c)
	}
	_, err := fmt.Fprintf(w, "%-5s %s: %s\n", printable(string(c.State)), printable(c.Name), printableLines(c.Detail))
	if err == nil && c.Hint != "" {
		_, err = fmt.Fprintf(w, "      %s\n", printable(c.Hint))
	}
	return err
}

// diagnose passes each check to report when it is done.
func diagnose(c *cobra.Command, report func(doctor.Check)) {
	cfg, file, isUnits, err := theUnit.load(c, os.Environ())
	report(configuration(file, isUnits, err))
	if err != nil {
		return
	}
	served, ok := examineThere(c.Context(), cfg, report)
	if !ok {
		served = examineHere(c.Context(), cfg, report)
	}
	for _, check := range doctor.Clients(c.Context(), "/", served) {
		report(check)
	}
}

// sentence returns the text of err with a mark at its end.
func sentence(err error) string {
	if text := err.Error(); strings.HasSuffix(text, "?") {
		return text
	}
	return err.Error() + "."
}

// examineThere has the running mirror check itself, and returns what its clients have to
// know. It reports whether there is one that did, or does for somebody else.
func examineThere(ctx context.Context, cfg *config.Config, report func(doctor.Check)) (served doctor.Served, ok bool) {
	const what = "mirror"
	found, err := locate(ctx, cfg)
	if err != nil {
		report(doctor.Check{Name: what, State: doctor.Warn, Detail: sentence(err) + " What follows is checked by this command, as this user",
			Hint: "start it with mirrord serve, or name it with --admin-listen or --admin-socket"})
		return served, false
	}
	if cfg.Cache.DirSet && found.dir != admin.RealPath(cfg.Cache.Dir) {
		report(doctor.Check{Name: what, State: doctor.Warn, Detail: fmt.Sprintf("that at %s uses %s, and not %s as its cache.dir. What follows is checked by this command, as this user", found.at, found.dir, cfg.Cache.Dir),
			Hint: "name the mirror that is meant with --admin-listen or --admin-socket, or start it with mirrord serve"})
		return served, false
	}
	ready, err := found.client.Ready(ctx)
	switch degraded := strings.TrimSpace(string(ready)); {
	case err != nil:
		report(doctor.Check{Name: what, State: doctor.Fail, Detail: err.Error(), Hint: "see its log"})
	case degraded != "ready":
		report(doctor.Check{Name: what, State: doctor.Warn, Detail: found.at + " is " + strings.ReplaceAll(degraded, "\n", "; "), Hint: "see its log, and the checks below"})
	default:
		report(doctor.Check{Name: what, State: doctor.OK, Detail: "ready at " + found.at + "; it checks what follows"})
	}
	served, err = found.client.Doctor(ctx, report)
	var refused *admin.Refusal
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusConflict: // another check there would send logins once more
		report(doctor.Check{Name: what, State: doctor.Fail, Detail: err.Error(), Hint: "another mirrord doctor is running: run this again when it has ended"})
	case err != nil:
		report(doctor.Check{Name: what, State: doctor.Warn, Detail: "it did not check everything: " + err.Error() + "; what follows is checked by this command, as this user",
			Hint: "run this as root or as the user of the mirror, with its version of mirrord"})
		return served, false
	}
	return served, true
}
