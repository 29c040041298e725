package main

import (
	"bytes"
	"context"
	"time"

	"go.uber.org/zap"

	"mirrord/internal/ratelimit"
	"mirrord/internal/telemetry"
	"mirrord/internal/upstream"
)

// logins returns which credentials are in use.
func logins(pools []*upstream.Pool) []telemetry.Login {
	var all []telemetry.Login
	for _, p := range pools {
		for i, usable := range p.Usable() {
			all = append(all, telemetry.Login{Upstream: p.Name(), Credential: p.Members()[i].Name, Usable: usable})
		}
	}
	return all
}

// budgetWriter remembers the budgets across restarts, and probes for those that no
// response has reported for long.
type budgetWriter struct {
	ledger *ratelimit.Ledger
	pools  func() []*upstream.Pool
	probe  func() time.Duration // 0: never
	write  func(map[string][]byte) error
	log    *zap.Logger

	written map[string][]byte
	failing bool // the last write failed, which is logged
}

const writeEvery = 15 * time.Second

// run probes and writes until ctx ends. Run once.
func (w *budgetWriter) run(ctx context.Context) error {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		if every := w.probe(); every > 0 {
			for _, p := range w.pools() {
				p.Probe(ctx, every)
			}
		}
		w.writeChanged()
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.writeChanged()
			return nil
		}
	}
}

// writeChanged writes what has changed.
func (w *budgetWriter) writeChanged() {
	records := w.ledger.Records()
	changed := make(map[string][]byte)
	for name, value := range records {
		if !bytes.Equal(w.written[name], value) {
			changed[name] = value
		}
	}
	if len(changed) == 0 {
		return
	}
	err := w.write(changed)
	if err == nil {
		w.written = records
	} else if !w.failing {
		w.log.Error("budgets cannot be written; a restart forgets them", zap.Error(err))
	}
	w.failing = err != nil
}
