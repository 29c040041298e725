package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"mirrord/internal/config"
	"mirrord/internal/doctor"
	"mirrord/internal/telemetry"
)

func newDoctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check what the mirror needs, and say what to do about what is wrong",
		Long: `Check what the mirror needs, and say what to do about what is wrong: the configuration, whether
the mirror responds, whether its upstreams do, the clock, the disk of the cache, and the bucket of a fleet.
The upstreams are asked from this process, by one request each that no pull limit counts, without a login,
and the bucket for one object. The exit status is 1 if a check failed; warnings do not count.`,
		Args: refuse(cobra.NoArgs),
	}
	asJSON := c.Flags().Bool("json", false, "print a line of JSON for each check")
	config.AddFlags(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error {
		failed := 0
		var broken error
		diagnose(c, func(check doctor.Check) {
			if check.State == doctor.Fail {
				failed++
			}
			broken = errors.Join(broken, writeCheck(c.OutOrStdout(), check, *asJSON))
		})
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
	_, err := fmt.Fprintf(w, "%-5s %s: %s\n", c.State, c.What, printableLines(c.Detail))
	if err == nil && c.Advice != "" {
		_, err = fmt.Fprintf(w, "      %s\n", c.Advice)
	}
	return err
}

// diagnose passes each check to report when it is done.
func diagnose(c *cobra.Command, report func(doctor.Check)) {
	cfg, err := config.Load(c.Flags(), os.Environ())
	if err != nil {
		report(doctor.Check{State: doctor.Fail, What: "configuration", Detail: err.Error(), Advice: "correct it; mirrord config sample prints every setting"})
		return
	}
	file := cmp.Or(c.Flag("config").Value.String(), config.File(os.Environ()), "no file, only defaults, environment and flags")
	report(doctor.Check{State: doctor.OK, What: "configuration", Detail: "valid: " + file})
	dir := cfg.Cache.Dir
	check, found := checkMirror(c.Context(), cfg)
	report(check)
	for _, check := range doctor.Disk(cmp.Or(found, dir), int64(cfg.Cache.MaxSize), int64(cfg.Cache.MinFree)) {
		report(check)
	}
	for _, u := range cfg.Upstreams {
		for _, check := range checkUpstream(c.Context(), cfg, u) {
			report(check)
		}
	}
	if cfg.Fleet.S3.Enabled() {
		report(checkFleet(c.Context(), cfg.Fleet.S3))
	}
}

func checkFleet(ctx context.Context, c config.S3) doctor.Check {
	b, err := newBucket(c)
	if err != nil {
		return doctor.Check{State: doctor.Fail, What: "fleet bucket", Detail: err.Error(), Advice: "correct fleet.s3; mirrord config check says more"}
	}
	return doctor.Bucket(ctx, c.Bucket+" at "+c.Endpoint, b)
}

// checkMirror is whether a mirror responds and is ready, and its cache directory.
func checkMirror(ctx context.Context, cfg *config.Config) (check doctor.Check, dir string) {
	found, err := locate(ctx, cfg)
	if err != nil {
		return doctor.Check{State: doctor.Warn, What: "mirror", Detail: err.Error(), Advice: "start it with mirrord serve, or name it with --admin-listen or --admin-socket"}, ""
	}
	if _, err := found.client.Ready(ctx); err != nil {
		return doctor.Check{State: doctor.Fail, What: "mirror", Detail: err.Error(), Advice: "see its log"}, found.dir
	}
	return doctor.Check{State: doctor.OK, What: "mirror", Detail: "ready at " + found.at}, found.dir
}

func checkUpstream(ctx context.Context, cfg *config.Config, u config.Upstream) []doctor.Check {
	failed := func(err error) []doctor.Check {
		return []doctor.Check{{State: doctor.Fail, What: "upstream " + u.Name, Detail: err.Error(), Advice: "correct its settings; mirrord config check says more"}}
	}
	if cfg.Offline {
		return []doctor.Check{{State: doctor.OK, What: "upstream " + u.Name, Detail: "not asked, because of offline: true"}}
	}
	address, err := url.Parse(u.URL)
	if err != nil {
		return failed(err)
	}
	transport, err := newNetwork(u, telemetry.NewMetrics(thisBuild().Version), nil)
	if err != nil {
		return failed(err)
	}
	return doctor.Upstream(ctx, u.Name, address, transport(address))
}
