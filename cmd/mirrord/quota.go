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

// logins tells which credentials are in use.
func logins(pools []*upstream.Pool) []telemetry.Login {
	var all []telemetry.Login
	for _, p := range pools {
		for i, usable := range p.Usable() {
			all = append(all, telemetry.Login{Upstream: p.Name(), Credential: p.Members()[i].Name, Usable: usable})
		}
	}
	return all
}

// keeper remembers the budgets across restarts, and asks for those that nobody
// has told of for long.
type keeper struct {
	ledger *ratelimit.Ledger
	pools  []*upstream.Pool
	probe  time.Duration // 0: never ask
	write  func(map[string][]byte) error
	log    *zap.Logger

	written map[string][]byte
	failing bool // the last write failed, and that is said
}

const keepEvery = 15 * time.Second

// run keeps and asks until ctx ends. Run once.
func (k *keeper) run(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		if k.probe > 0 {
			for _, p := range k.pools {
				p.Probe(ctx, k.probe)
			}
		}
		k.keep()
		select {
		case <-tick.C:
		case <-ctx.Done():
			k.keep()
			return nil
		}
	}
}

// keep writes what has changed.
func (k *keeper) keep() {
	records := k.ledger.Records()
	changed := make(map[string][]byte)
	for name, value := range records {
		if !bytes.Equal(k.written[name], value) {
			changed[name] = value
		}
	}
	if len(changed) == 0 {
		return
	}
	err := k.write(changed)
	if err == nil {
		k.written = records
	} else if !k.failing {
		k.log.Error("budgets are not written; after a restart they are not known", zap.Error(err))
	}
	k.failing = err != nil
}
