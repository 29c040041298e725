package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mirrord/internal/config"
	"mirrord/internal/telemetry"
)

// drainTime is how long requests under way may go on after SIGTERM.
const drainTime = 30 * time.Second

func newServeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the mirror",
		Long: `Run the mirror. Without any configuration it mirrors Docker Hub on
127.0.0.1:5000 and keeps what it fetches in the user's cache directory.

SIGTERM and SIGINT let requests under way finish, for 30 seconds at most; a
second one ends the process at once.`,
		Args: refuse(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(c.Flags(), os.Environ())
			if err != nil {
				return err
			}
			return serve(c.Context(), cfg)
		},
	}
	config.AddFlags(c.Flags())
	return c
}

// serve runs the daemon until a signal or a failure.
func serve(ctx context.Context, cfg *config.Config) (err error) {
	log, stopLog, err := telemetry.NewLogger(os.Stderr, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return refusal{err}
	}
	defer func() { _ = stopLog() }() // a log that cannot be written has nowhere to say so
	d, err := build(cfg, log)
	if err != nil {
		return err
	}
	if err := d.listen(cfg); err != nil {
		return refusal{errors.Join(err, d.close())}
	}
	defer func() {
		err = errors.Join(err, d.close())
		log.Info("stopped")
	}()
	ctx, forget := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer forget()
	return d.run(ctx, forget, log)
}

// servers is what listens.
type servers struct {
	mirror, admin   *http.Server
	mirrorL, adminL *net.TCPListener
	draining        atomic.Bool
}

// listen takes both addresses, or neither.
func (s *servers) listen(cfg *config.Config) (err error) {
	if s.mirrorL, err = listen(cfg.Listen, "listen"); err != nil {
		return err
	}
	if s.adminL, err = listen(cfg.Admin.Listen, "admin.listen"); err != nil {
		return errors.Join(err, s.mirrorL.Close())
	}
	return nil
}

func listen(address, key string) (*net.TCPListener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, listenError(address, err))
	}
	return l.(*net.TCPListener), nil
}

// listenError says what to do about an address that cannot be listened on.
func listenError(address string, err error) error {
	var unresolved *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use: stop what listens there or choose another address", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s is not an address of this machine; choose one that `ip address` shows, or 0.0.0.0 for all", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: this user may not listen on ports below 1024; choose a higher one, or allow it to all users with: sysctl -w net.ipv4.ip_unprivileged_port_start=80", address)
	case errors.As(err, &unresolved):
		return fmt.Errorf("%s: its host has no address (%w); write an IP address of this machine, or 0.0.0.0 for all", address, unresolved)
	}
	return err
}

// run serves until ctx ends or a server fails, and calls forget, so that the next
// signal has its usual effect before anybody can know of the drain. Of that the
// mirror's requests come first, then the cache's fills, and the admin listener
// last, so that it can be watched.
func (d *mirrord) run(ctx context.Context, forget func(), log *zap.Logger) error {
	servers, ctx := errgroup.WithContext(ctx)
	mirrorL := &progressListener{d.mirrorL, progressTime}
	servers.Go(func() error { return serveOn(d.mirror, mirrorL) })
	servers.Go(func() error { return serveOn(d.admin, d.adminL) })
	working, stopWork := context.WithCancel(context.Background())
	var worker errgroup.Group
	for _, work := range d.workers {
		worker.Go(func() error { return work(working) })
	}
	defer onHangup(func() {
		log.Info("SIGHUP: logins are read again")
		d.reload()
	})()

	log.Info("serving", append(d.facts, zap.Stringer("listen", d.mirrorL.Addr()), zap.Stringer("admin", d.adminL.Addr()))...)
	notify(log, daemon.SdNotifyReady)
	<-ctx.Done()
	forget()
	log.Info("draining", zap.Duration("at_most", drainTime))
	d.draining.Store(true)
	notify(log, daemon.SdNotifyStopping)

	drained := drain(d.mirror)
	stopWork()
	err := errors.Join(drained, worker.Wait(), d.admin.Close(), servers.Wait())
	return err
}

// onHangup calls act at each SIGHUP until stop, which waits for an act under way.
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

func serveOn(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// drain lets requests under way finish, and cuts those that take too long.
func drain(s *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := s.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		return s.Close()
	} else if err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}

func notify(log *zap.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd was not told", zap.String("state", state), zap.Error(err))
	}
}
