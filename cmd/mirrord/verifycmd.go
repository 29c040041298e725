package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/term"

	"mirrord/internal/cache"
	"mirrord/internal/cache/disk"
	"mirrord/internal/cache/lru"
	"mirrord/internal/config"
	"mirrord/internal/health"
	"mirrord/internal/telemetry"
	"mirrord/internal/upstream"
)

func newVerifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify",
		Short: "Hash all that is cached and say what is damaged",
		Long: `Hash every file of the cache and compare the directory with the index. A
running mirror does it while it serves, at 32 MiB a second: the one at
admin.listen. When none answers there, or cache.dir names another directory,
that directory is read. It ends with status 3 when anything is wrong, repaired
or not.`,
		Args: refuse(cobra.NoArgs),
	}
	repair := c.Flags().Bool("repair", false, "drop what is damaged, lost or no blob, and keep right files that the index does not know")
	config.AddFlags(c.Flags(), cacheDirKey, adminListenKey)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config.Load(c.Flags(), os.Environ())
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		defer context.AfterFunc(ctx, stop)() // a second one ends the process
		where, verify, end, err := findCache(ctx, cfg)
		if err != nil {
			return err
		}
		defer end()
		_, _ = fmt.Fprintln(c.ErrOrStderr(), "verifying", where)
		r := &report{out: c.OutOrStdout(), bar: newBar(), begun: time.Now()}
		found, err := verify(ctx, *repair, r.tell)
		if err != nil && found == (cache.Findings{}) {
			return fmt.Errorf("nothing was verified: %w", err)
		}
		r.finish(found, *repair)
		if err != nil {
			return fmt.Errorf("the verification is not complete: %w", err)
		}
		return verdict(found, *repair)
	}
	return c
}

const (
	cacheDirKey    = "cache.dir"
	adminListenKey = "admin.listen"
)

// findCache returns how to verify the cache that cfg means, and what to call in
// the end. Unless somebody has chosen a directory it is that of the mirror at
// admin.listen, which may run as another user or with other settings.
func findCache(ctx context.Context, cfg *config.Config) (where string, verify verifyFunc, end func(), err error) {
	dir, listen := cfg.Cache.Dir, cfg.Admin.Listen
	used, silent := askDirectory(ctx, listen)
	if silent == nil && (!cfg.Cache.DirSet || used == resolved(dir)) {
		return fmt.Sprintf("%s, which the mirror at %s uses", used, listen), verifyLive(listen, used), func() {}, nil
	}
	if err := checkLaidOut(dir); err != nil {
		return "", nil, nil, refusal{fmt.Errorf("%w; %s", err, elsewhere(listen, used, silent))}
	}
	resting, end, err := openResting(dir)
	switch {
	case errors.Is(err, disk.ErrInUse):
		return "", nil, nil, refusal{fmt.Errorf("a running mirror uses %s; %s", dir, elsewhere(listen, used, silent))}
	case err != nil:
		return "", nil, nil, unusable(dir, err)
	case silent == nil:
		dir += ", and not " + used + ", which the mirror at " + listen + " uses"
	}
	return dir, resting, end, nil
}

// elsewhere says what to try instead, when the mirror at listen uses the directory
// used, or has been silent.
func elsewhere(listen, used string, silent error) string {
	if silent != nil {
		return fmt.Sprintf("no mirror answers at %s: name the directory with --cache-dir, or the address of the running mirror with --admin-listen", listen)
	}
	return fmt.Sprintf("the mirror at %s uses %s: name that with --cache-dir, or the address of another with --admin-listen", listen, used)
}

// checkLaidOut fails when no mirror has ever used dir.
func checkLaidOut(dir string) error {
	for _, name := range []string{"format", "blobs", "index"} {
		_, err := os.Lstat(filepath.Join(dir, name))
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("there is no cache in %s", dir)
}

// openResting takes a directory that no mirror uses, as the user that owns it.
func openResting(dir string) (verify verifyFunc, end func(), err error) {
	if dir, err = becomeOwner(dir); err != nil {
		return nil, nil, err
	}
	log, stopLog, err := telemetry.NewLogger(os.Stderr, "warn", "console")
	if err != nil {
		return nil, nil, err
	}
	s, err := openStorage(dir, log)
	if err != nil {
		return nil, nil, errors.Join(err, stopLog())
	}
	end = func() {
		if err := s.close(); err != nil {
			log.Error("close the cache", zap.Error(err))
		}
		_ = stopLog()
	}
	c, err := cache.New(cache.Options{
		Next: upstream.Router{}, Store: s.blobs, Policy: lru.NewPolicy(), Index: s.index, Parts: s.parts,
		MaxSize: math.MaxInt64, Health: health.New(health.Hooks{}),
	})
	if err != nil {
		end()
		return nil, nil, err
	}
	verify = func(ctx context.Context, repair bool, tell func(cache.Findings, *cache.Fault)) (cache.Findings, error) {
		return c.Verify(ctx, cache.VerifyOptions{Repair: repair}, tell)
	}
	return verify, end, nil
}

// report tells a person of a verification: what is wrong on out, how far it is
// on a terminal, the figures at the end.
type report struct {
	out   io.Writer
	bar   *progressbar.ProgressBar // nil: there is nobody to look at it
	begun time.Time
}

func newBar() *progressbar.ProgressBar {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil
	}
	return progressbar.NewOptions64(1,
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true),
		progressbar.OptionThrottle(tellEvery), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
}

func (r *report) tell(found cache.Findings, fault *cache.Fault) {
	if r.bar != nil {
		r.bar.ChangeMax64(max(found.Of, found.Bytes, 1))
		_ = r.bar.Set64(found.Bytes)
	}
	if fault == nil {
		return
	}
	if r.bar != nil {
		_ = r.bar.Clear()
	}
	_, _ = fmt.Fprintf(r.out, "%s: %v\n", fault.Name, fault.Err)
}

func (r *report) finish(f cache.Findings, repair bool) {
	if r.bar != nil {
		_ = r.bar.Finish()
	}
	table := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "right\t%d\t%s read in %s\n", f.Blobs, units.BytesSize(float64(f.Bytes)), time.Since(r.begun).Round(time.Millisecond))
	row := func(name string, n int64, repaired string) {
		if n == 0 || !repair {
			repaired = ""
		}
		_, _ = fmt.Fprintf(table, "%s\t%d\t%s\n", name, n, repaired)
	}
	row("damaged", f.Damaged, "dropped; fetched again when asked for")
	row("lost", f.Lost, "forgotten; fetched again when asked for")
	row("stray", f.Strays, "removed")
	row("unknown", f.Unknown, "kept")
	_ = table.Flush()
}

// damage is the error of a cache with something wrong in it.
type damage struct{ error }

func verdict(f cache.Findings, repair bool) error {
	switch {
	case f.Wrong() == 0:
		return nil
	case repair:
		return damage{fmt.Errorf("%d found wrong, and repaired", f.Wrong())}
	}
	return damage{fmt.Errorf("%d found wrong; mirrord verify --repair drops what is", f.Wrong())}
}
