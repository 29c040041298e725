package main

import (
	"context"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"mirrord/internal/config"
)

// watchdog tells systemd that the daemon makes progress, for as long as it does.
type watchdog struct {
	interval time.Duration // after which systemd ends a daemon that has told nothing
	check    func(context.Context) error
	notify   func()
	log      *zap.Logger
}

// run checks until ctx ends. A check that hangs ends the notifications, too: the dump of
// all goroutines then shows where.
func (w *watchdog) run(ctx context.Context) error {
	tick := time.NewTicker(w.interval / 4) // one check may fail without consequence
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.look(ctx)
		}
	}
}

func (w *watchdog) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.interval/2)
	defer cancel()
	if err := w.check(ctx); err != nil {
		w.log.Error("the mirror does not respond to itself; if this goes on systemd restarts it", zap.Error(err))
		return
	}
	w.notify()
}

// newWatchdog returns the run of a watchdog, which does nothing if systemd wants none.
// Its requests end when serving does, which is when the mirror drains.
func (d *daemon) newWatchdog(serving context.Context) func(context.Context) error {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		d.log.Warn("WatchdogSec= cannot be heeded", zap.Error(err))
	}
	if interval == 0 {
		return func(context.Context) error { return nil }
	}
	listeners := d.cfg.AllListeners() // how each is served does not change
	w := &watchdog{
		interval: interval, log: d.log,
		check: func(ctx context.Context) error {
			d.mirror.Cache.Stats() // takes the lock
			d.mirror.Tags.Stats()
			if serving.Err() != nil {
				return nil
			}
			return d.askSelf(ctx, listeners)
		},
		notify: func() { tellSystemd(d.log, systemd.SdNotifyWatchdog) },
	}
	return w.run
}

// askSelf fails when a listener does not respond. What is degraded, such as a disk, does
// not matter.
func (d *daemon) askSelf(ctx context.Context, listeners []config.Listener) error {
	for i, listener := range listeners {
		if needsCertificate(listener) {
			d.self.call(d.handlers[i])
			continue
		}
		if err := d.self.ask(ctx, listener, d.mirrors[i].Addr()); err != nil {
			return err
		}
	}
	return nil
}
