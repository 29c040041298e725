package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"mirrord/internal/config"
	"mirrord/internal/server"
	"mirrord/internal/telemetry"
)

// drainTime is how long requests in flight may take after SIGTERM.
const drainTime = 30 * time.Second

func newServeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the mirror",
		Long: `Run the mirror. Without any configuration it mirrors Docker Hub on
127.0.0.1:5000 and caches what it fetches in the user's cache directory.

After SIGTERM or SIGINT requests in flight have 30 seconds to finish; a second
signal ends the process at once. SIGHUP reads the configuration again and applies what can
be changed while the mirror runs, reads logins, TLS certificates, and the users and tokens of
clients again, retries logins that failed, and opens the audit log again.`,
		Args: refuse(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return serve(c.Context(), func() (*config.Config, error) { return config.Load(c.Flags(), os.Environ()) })
		},
	}
	config.AddFlags(c.Flags())
	return c
}

// serve runs the daemon until a signal or a failure. load reads the configuration.
func serve(ctx context.Context, load func() (*config.Config, error)) (err error) {
	passed, err := passedSockets()
	if err != nil {
		return refusal{err}
	}
	load = passed.assign(load)
	cfg, err := load()
	if err != nil {
		return err
	}
	level := zap.NewAtomicLevelAt(levelOf(cfg))
	format, person := logFormat(cfg, os.Stderr)
	log, stopLog := telemetry.NewLogger(os.Stderr, level, format)
	defer func() { _ = stopLog() }() // a log that cannot be written has nowhere to say so
	d, err := build(cfg, load, passed, log, level)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, d.close())
		log.Info("stopped")
	}()
	ctx, restoreSignals := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer restoreSignals()
	return d.run(ctx, restoreSignals, log, person)
}

// run serves until ctx ends or a server fails, and calls restoreSignals before it
// drains, so that a second signal ends the process. The mirror's requests are
// drained first, then the cache's fills are ended, and the admin listener is closed
// last, so that the drain can be watched.
func (d *daemon) run(ctx context.Context, restoreSignals func(), log *zap.Logger, person bool) error {
	servers, ctx := errgroup.WithContext(ctx)
	for _, s := range d.mirrors {
		servers.Go(s.Serve)
	}
	for _, s := range d.others() {
		servers.Go(s.Serve)
	}
	working, stopWork := context.WithCancel(context.Background())
	defer stopWork()
	var workers errgroup.Group
	for _, work := range d.workers {
		workers.Go(func() error { return work(working) })
	}
	watch := d.newWatchdog(ctx)
	workers.Go(func() error { return watch(working) })
	defer onHangup(d.hangup)()

	refused := d.fleet.require(ctx)
	if refused == nil {
		d.announce(person)
		tellSystemd(log, systemd.SdNotifyReady)
		<-ctx.Done()
	} else {
		log.Error("refused", zap.Error(refused))
	}
	restoreSignals()
	log.Info("draining", zap.Duration("at_most", drainTime))
	d.api.Drain()
	tellSystemd(log, systemd.SdNotifyStopping)

	drained := d.drain()
	stopWork()
	return errors.Join(refused, drained, workers.Wait(), d.closeOthers(), servers.Wait())
}

// announce says that the mirror serves, to a person in more words.
func (d *daemon) announce(person bool) {
	if !person {
		d.log.Info("serving", append(summary(d.cfg), zap.String("listen", servedAt(d.mirrors)), zap.String("admin", servedAt(d.admin)))...)
		return
	}
	listeners := slices.Clone(d.cfg.AllListeners())
	for i := range listeners {
		listeners[i].Address = d.mirrors[i].Addr().String()
	}
	_ = d.log.Sync() // what came before
	_, _ = io.WriteString(os.Stderr, welcome(d.cfg, listeners, findClient(d.cfg, onThisHost)))
}

// servedAt returns where servers listen.
func servedAt(servers []*server.Server) string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Addr().String())
	}
	return strings.Join(all, ", ")
}

// others are the servers that no client of the registry uses: what other mirrors read is
// cut off last, like the admin API.
func (d *daemon) others() []*server.Server {
	if d.siblings == nil {
		return d.admin
	}
	return append(slices.Clone(d.admin), d.siblings)
}

func (d *daemon) closeOthers() (err error) {
	for _, s := range d.others() {
		err = errors.Join(err, s.Close())
	}
	return err
}

// drain drains all servers of the registry at once.
func (d *daemon) drain() error {
	var all errgroup.Group
	for _, s := range d.mirrors {
		all.Go(func() error { return s.Drain(drainTime) })
	}
	return all.Wait()
}

// levelOf returns log.level, which the configuration has checked.
func levelOf(cfg *config.Config) zapcore.Level {
	level, _ := zapcore.ParseLevel(cfg.Log.Level)
	return level
}

// onHangup calls act at each SIGHUP until stop, which waits for one in progress.
func onHangup(act func()) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var listener sync.WaitGroup
	listener.Go(func() {
		for range hangups {
			act()
		}
	})
	return func() {
		signal.Stop(hangups)
		close(hangups)
		listener.Wait()
	}
}
