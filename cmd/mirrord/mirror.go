package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mirrord/internal/admin"
	"mirrord/internal/config"
)

const (
	cacheDirKey       = "cache.dir"
	adminSocketKey    = "admin.socket"
	adminTokenFileKey = "admin.token_file"
)

// addMirrorFlags adds what findMirror reads to the flags of a command.
func addMirrorFlags(c *cobra.Command) {
	config.AddFlags(c.Flags(), adminListenKey, adminSocketKey, adminTokenFileKey)
}

// findMirror returns a client of the mirror that a command with addMirrorFlags is meant
// for. It fails with admin.ErrNoMirror when none responds.
//
// It is the one at admin.socket or admin.listen, if one of these is configured. Otherwise it
// is that of this user, whose socket is in the cache directory, then that of the systemd
// unit, then what is at the default of admin.listen. With a configured cache directory it
// must be the mirror that uses it.
func findMirror(c *cobra.Command) (*admin.Client, error) {
	cfg, err := config.Load(c.Flags(), os.Environ())
	if err != nil {
		return nil, err
	}
	found, err := locate(c.Context(), cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Cache.DirSet && found.dir != admin.RealPath(cfg.Cache.Dir) {
		return nil, fmt.Errorf("%w with cache.dir %s; that at %s uses %s", admin.ErrNoMirror, cfg.Cache.Dir, found.at, found.dir)
	}
	return found.client, nil
}

// located is a mirror that responds.
type located struct {
	client *admin.Client
	at     string // as a value of admin.listen
	dir    string // its cache directory
}

// locate returns the first mirror that responds where the one that cfg means may listen,
// preferring one that uses the configured cache directory. It fails with admin.ErrNoMirror.
func locate(ctx context.Context, cfg *config.Config) (located, error) {
	var first located
	var none error
	for _, at := range adminAddresses(cfg) {
		client := admin.NewClient(at, cfg.Admin.TokenFile)
		dir, err := client.Directory(ctx)
		switch {
		case err != nil && errors.Is(none, os.ErrPermission): // it is there, and this user may not ask it
		case err != nil:
			none = err
		case !cfg.Cache.DirSet || dir == admin.RealPath(cfg.Cache.Dir):
			return located{client, at, dir}, nil
		case first.client == nil:
			first = located{client, at, dir}
		}
	}
	if first.client == nil {
		return located{}, alsoTried(none, cfg)
	}
	return first, nil
}

// alsoTried adds to the error of the last address the sockets where there is no mirror
// either.
func alsoTried(err error, cfg *config.Config) error {
	if len(adminAddresses(cfg)) == 1 && (cfg.Admin.Socket != "" || cfg.Admin.ListenSet) {
		return err // a person has named it
	}
	return fmt.Errorf("%w No mirror is at the sockets %s either", err, strings.Join(slices.Compact(defaultSockets(cfg)), " and "))
}

// defaultSockets are those of this user's mirror and of the systemd unit's.
func defaultSockets(cfg *config.Config) []string {
	return []string{defaultSocket(cfg), filepath.Join(unitDirectory, socketName)}
}

// adminAddresses returns where the mirror that cfg means may listen for commands, as values
// of admin.listen, the likeliest first.
func adminAddresses(cfg *config.Config) []string {
	switch {
	case cfg.Admin.Socket != "" && cfg.Admin.Socket != config.NoSocket:
		return []string{"unix:" + cfg.Admin.Socket}
	case cfg.Admin.ListenSet || cfg.Admin.Socket == config.NoSocket:
		return []string{cfg.Admin.Listen}
	}
	var all []string
	for _, path := range defaultSockets(cfg) {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) && len(path) <= config.MaxSocketPath {
			all = append(all, "unix:"+path)
		}
	}
	return append(slices.Compact(all), cfg.Admin.Listen)
}
