package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"mirrord/internal/admin"
	"mirrord/internal/config"
	"mirrord/internal/doctor"
)

// unit is what systemd passes to the service alone.
type unit struct{ configuration, cache string }

// theUnit has the ConfigurationDirectory= and CacheDirectory= of the systemd unit.
var theUnit = unit{configuration: "/etc/mirrord", cache: "/var/cache/mirrord"}

// load returns the configuration that is checked, and its file, empty when there is none.
// When no file is named, that is the one of the service, unless there is none or a mirror of
// this user responds: a service that is down would be checked with the defaults otherwise.
func (u unit) load(c *cobra.Command, environ []string) (cfg *config.Config, file string, isUnits bool, err error) {
	flag := c.Flag("config")
	file = cmp.Or(flag.Value.String(), config.File(environ))
	cfg, err = config.Load(c.Flags(), environ)
	if err != nil || file != "" || flag.Changed {
		return cfg, file, false, err
	}
	units := slices.Concat([]string{"CONFIGURATION_DIRECTORY=" + u.configuration}, environ, []string{"CACHE_DIRECTORY=" + u.cache})
	if file = config.File(units); file == "" || respondsHere(c.Context(), cfg) {
		return cfg, "", false, nil
	}
	cfg, err = config.Load(c.Flags(), units)
	return cfg, file, true, err
}

// respondsHere reports whether a mirror responds at the default socket.
func respondsHere(ctx context.Context, cfg *config.Config) bool {
	path := defaultSocket(cfg)
	if len(path) > config.MaxSocketPath {
		return false
	}
	_, err := admin.NewClient("unix:"+path, "").Directory(ctx)
	return err == nil
}

// configuration is the check of a configuration that was loaded from file, or failed with
// err.
func configuration(file string, isUnits bool, err error) doctor.Check {
	c := doctor.Check{Name: "configuration", State: doctor.OK, Detail: "valid: " + cmp.Or(file, "no file, only defaults, environment and flags")}
	if isUnits {
		c.Detail += ", which the service reads; --config names another"
	}
	if err == nil {
		return c
	}
	c.State, c.Detail, c.Hint = doctor.Fail, err.Error(), hintConfiguration(isUnits, file != "" && mayNotRead(file))
	return c
}

// hintConfiguration says what to do about a configuration that cannot be loaded; denied is
// that this user may not read its file.
func hintConfiguration(isUnits, denied bool) string {
	switch {
	case denied:
		return "run this as root or as the user of the mirror, which must be able to read that file; --config names another"
	case isUnits:
		return "correct that file, which the service reads, or name another with --config; mirrord config sample prints every setting"
	}
	return "correct it; mirrord config sample prints every setting"
}

// mayNotRead reports whether this user may not read a file.
func mayNotRead(path string) bool {
	f, err := os.Open(path)
	if err == nil {
		_ = f.Close()
	}
	return errors.Is(err, fs.ErrPermission)
}
