package main

import (
	"context"
	"encoding/json"
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

	"mirrord/internal/admin"
	"mirrord/internal/cache"
	"mirrord/internal/cache/disk"
	"mirrord/internal/cache/lru"
	"mirrord/internal/config"
	"mirrord/internal/health"
	"mirrord/internal/route"
	"mirrord/internal/telemetry"
)

func newVerifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify",
		Short: "Hash everything cached and report damage",
		Long: `Hash every file of the cache and compare the directory with the index. If a
mirror runs at admin.socket or admin.listen, it does this while serving, at 32
MiB/s. If none runs, or cache.dir names another directory, that directory is
read here. Exits with status 3 if anything is wrong, even if repaired.`,
		Args: refuse(cobra.NoArgs),
	}
	repair := c.Flags().Bool("repair", false, "drop what is damaged, lost or not a blob, and adopt intact files that the index does not know")
	asJSON := c.Flags().Bool("json", false, "print a line of JSON for each fault, and a last one with the figures")
	config.AddFlags(c.Flags(), cacheDirKey, adminListenKey, adminSocketKey, adminTokenFileKey)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config.Load(c.Flags(), os.Environ())
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		defer context.AfterFunc(ctx, stop)() // a second signal ends the process
		target, err := findCache(ctx, cfg)
		if err != nil {
			return err
		}
		defer target.close()
		_, _ = fmt.Fprintln(c.ErrOrStderr(), "verifying", target.name)
		var r reporter = &report{out: c.OutOrStdout(), bar: newBar(), begun: time.Now()}
		if *asJSON {
			r = &jsonReport{json.NewEncoder(c.OutOrStdout())}
		}
		return target.run(ctx, r, *repair)
	}
	return c
}

// verifyFunc verifies a cache.
type verifyFunc func(ctx context.Context, repair bool, progress func(cache.Findings, *cache.Fault)) (cache.Findings, error)

// verifyTarget is a cache that can be verified: a running mirror's, or one that no
// mirror uses.
type verifyTarget struct {
	name   string
	verify verifyFunc
	close  func()
}

// run verifies the cache and reports to r.
func (t *verifyTarget) run(ctx context.Context, r reporter, repair bool) error {
	found, err := t.verify(ctx, repair, r.progress)
	if err != nil && found == (cache.Findings{}) {
		return fmt.Errorf("nothing was verified: %w", err)
	}
	r.finish(found, repair, err)
	if err != nil {
		return fmt.Errorf("the verification is not complete: %w", err)
	}
	return verdict(found, repair)
}

// findCache returns the cache that cfg means. Unless a directory is configured it is
// that of the mirror that locate finds, which may run as another user or with other
// settings.
func findCache(ctx context.Context, cfg *config.Config) (*verifyTarget, error) {
	dir, listen := cfg.Cache.Dir, cfg.Admin.Listen
	mirror, noMirror := locate(ctx, cfg)
	used := mirror.dir
	if noMirror == nil {
		listen = mirror.at
	}
	if noMirror == nil && (!cfg.Cache.DirSet || used == admin.RealPath(dir)) {
		verify := func(ctx context.Context, repair bool, progress func(cache.Findings, *cache.Fault)) (cache.Findings, error) {
			return mirror.client.Verify(ctx, used, repair, progress)
		}
		return &verifyTarget{fmt.Sprintf("%s, which the mirror at %s uses", used, listen), verify, func() {}}, nil
	}
	if err := checkIsCache(dir); err != nil {
		return nil, refusal{fmt.Errorf("%w; %s", err, suggest(listen, used, noMirror))}
	}
	verify, end, err := openUnused(dir)
	switch {
	case errors.Is(err, disk.ErrInUse):
		return nil, refusal{inUse(dir, listen, used, noMirror)}
	case err != nil:
		return nil, unusable(dir, err)
	case noMirror == nil:
		dir += ", and not " + used + ", which the mirror at " + listen + " uses"
	}
	return &verifyTarget{dir, verify, end}, nil
}

// inUse is the error for a directory that a mirror uses which is not the one at
// listen.
func inUse(dir, listen, used string, noMirror error) error {
	if noMirror != nil {
		return fmt.Errorf("a running mirror uses %s, but no mirror responds at %s: give the admin.listen of that mirror with --admin-listen, or stop it", dir, listen)
	}
	return fmt.Errorf("a running mirror uses %s; %s", dir, suggest(listen, used, nil))
}

// suggest says what to try instead, when the mirror at listen uses the directory
// used, or there is none.
func suggest(listen, used string, noMirror error) string {
	if noMirror != nil {
		return fmt.Sprintf("no mirror responds at %s: name the directory with --cache-dir, or the address of the running mirror with --admin-listen", listen)
	}
	return fmt.Sprintf("the mirror at %s uses %s: name that with --cache-dir, or the address of another with --admin-listen", listen, used)
}

// checkIsCache fails when no mirror has ever used dir.
func checkIsCache(dir string) error {
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

// openUnused opens a directory that no mirror uses, as the user that owns it.
func openUnused(dir string) (verify verifyFunc, end func(), err error) {
	if dir, err = becomeOwner(dir); err != nil {
		return nil, nil, err
	}
	log, stopLog := telemetry.NewLogger(os.Stderr, zap.WarnLevel, "console")
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
		Next: route.Router{}, Store: s.blobs, Policy: lru.NewPolicy(), Index: s.index, Parts: s.parts,
		Limits: cache.Limits{MaxSize: math.MaxInt64}, Health: health.New(health.Hooks{}),
	})
	if err != nil {
		end()
		return nil, nil, err
	}
	verify = func(ctx context.Context, repair bool, progress func(cache.Findings, *cache.Fault)) (cache.Findings, error) {
		return c.Verify(ctx, cache.VerifyOptions{Repair: repair}, progress)
	}
	return verify, end, nil
}

// reporter is told of a verification, one call at a time.
type reporter interface {
	// progress tells how far it is, and what is wrong with a file unless fault is nil.
	progress(found cache.Findings, fault *cache.Fault)
	// finish tells what was found until the end, or until err.
	finish(found cache.Findings, repair bool, err error)
}

// jsonReport reports in the lines that the admin API has, but for those of progress.
type jsonReport struct{ lines *json.Encoder }

func (r *jsonReport) progress(found cache.Findings, fault *cache.Fault) {
	if fault != nil {
		_ = r.lines.Encode(admin.Finding{Found: &found, Name: fault.Name, Wrong: fault.Err.Error()})
	}
}

func (r *jsonReport) finish(found cache.Findings, _ bool, err error) {
	last := admin.Finding{Found: &found, Done: true}
	if err != nil {
		last.Error = err.Error()
	}
	_ = r.lines.Encode(last)
}

// report reports a verification to a person: what is wrong on out, how far it is on
// a terminal, the figures at the end.
type report struct {
	out   io.Writer
	bar   *progressbar.ProgressBar // nil: stderr is not a terminal
	begun time.Time
}

func newBar() *progressbar.ProgressBar {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil
	}
	return progressbar.NewOptions64(1,
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true),
		progressbar.OptionThrottle(admin.ProgressEvery), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
}

func (r *report) progress(found cache.Findings, fault *cache.Fault) {
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

func (r *report) finish(f cache.Findings, repair bool, _ error) {
	if r.bar != nil {
		_ = r.bar.Finish()
	}
	table := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "intact\t%d\t%s read in %s\n", f.Blobs, units.BytesSize(float64(f.Bytes)), time.Since(r.begun).Round(time.Millisecond))
	row := func(name string, n int64, repaired string) {
		if n == 0 || !repair {
			repaired = ""
		}
		_, _ = fmt.Fprintf(table, "%s\t%d\t%s\n", name, n, repaired)
	}
	row("damaged", f.Damaged, "dropped; fetched again when requested")
	row("lost", f.Lost, "dropped; fetched again when requested")
	row("stray", f.Strays, "removed")
	row("unknown", f.Unknown, "adopted")
	_ = table.Flush()
}

// damage is the error of a cache with something wrong in it.
type damage struct{ error }

func verdict(f cache.Findings, repair bool) error {
	switch {
	case f.Wrong() == 0:
		return nil
	case repair:
		return damage{fmt.Errorf("problems found and repaired: %d", f.Wrong())}
	}
	return damage{fmt.Errorf("problems found: %d; repair them with mirrord verify --repair", f.Wrong())}
}
