package main

import (
	"net"

	"go.uber.org/zap"

	"mirrord/internal/config"
	"mirrord/internal/fleet/guard"
	"mirrord/internal/fleet/lease"
	"mirrord/internal/fleet/sibling"
	"mirrord/internal/server"
	"mirrord/internal/stack"
	"mirrord/internal/telemetry"
)

// sharesWork reports whether the mirror is to agree with others on who fetches what.
func sharesWork(cfg *config.Config) bool {
	return cfg.Fleet.Listen != "" && cfg.Fleet.Leases != config.LeasesOff
}

// shareWork has the mirrors of f agree on who fetches what, once the store is known to do
// what that needs.
func (o *fleetOps) shareWork(f *stack.Fleet) {
	if !sharesWork(o.daemon.cfg) {
		return
	}
	o.secret = f.Secret
	f.Work = &stack.FleetWork{
		Self:     lease.Self{Node: o.self.Node, Boot: o.self.Boot, Addr: o.self.Address},
		Bucket:   guard.New(o.bucket, telemetry.LeaseHooks(o.daemon.log)),
		Siblings: sibling.NewClient(sibling.ClientOptions{Secret: f.Secret, Node: o.self.Node}),
		Ready: func() bool {
			s := o.probe.Capabilities()
			return s.Conditions && s.SecretOK
		},
	}
}

// siblingServer returns what serves the other mirrors on l, or nil.
func (o *fleetOps) siblingServer(l net.Listener) *server.Server {
	if l == nil {
		return nil
	}
	d := o.daemon
	handler := sibling.NewHandler(telemetry.SiblingOptions(d.log, d.metrics, sibling.HandlerOptions{
		Secret: o.secret, Boot: o.self.Boot, Open: d.mirror.OpenForSibling,
	}))
	d.metrics.WatchSiblings(handler.Streams)
	if tcp, ok := l.(*net.TCPListener); ok {
		l = server.CutSlow(tcp) // a mirror that hangs does not hold a stream
	}
	return server.New(l, server.Options{Handler: handler, ErrorLog: zap.NewStdLog(d.log)})
}
