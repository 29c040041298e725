package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"mirrord/internal/access"
	"mirrord/internal/admin"
	"mirrord/internal/config"
	"mirrord/internal/server"
	"mirrord/internal/telemetry"
)

const (
	listenKey        = "listen"
	adminListenKey   = "admin.listen"
	metricsListenKey = "metrics.listen"
	fleetListenKey   = "fleet.listen"
)

// listening are the open listeners.
type listening struct {
	mirrors []*net.TCPListener // in the order of cfg.AllListeners
	admin   net.Listener
	socket  net.Listener // of admin.socket; nil: none
	metrics net.Listener // nil: none
	fleet   net.Listener // nil: none
}

// close closes those that are open.
func (l listening) close() (err error) {
	for _, mirror := range l.mirrors {
		err = errors.Join(err, mirror.Close())
	}
	for _, other := range []net.Listener{l.admin, l.socket, l.metrics, l.fleet} {
		if other != nil {
			err = errors.Join(err, other.Close())
		}
	}
	return err
}

// socketPath returns the path of the socket, empty when there is none.
func (l listening) socketPath() string {
	if l.socket == nil {
		return ""
	}
	return l.socket.Addr().String()
}

// listen listens on all addresses, or on none; where systemd does already, with its socket.
func listen(cfg *config.Config, passed sockets, log *zap.Logger) (open listening, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, open.close())
		}
	}()
	given, _ := passed.match(addresses(cfg))
	for _, listener := range cfg.AllListeners() {
		l, err := listenOn(given, listener.Address, listenKey)
		if err != nil {
			return open, err
		}
		open.mirrors = append(open.mirrors, l.(*net.TCPListener)) // the address is not that of a unix socket
	}
	if open.admin, err = listenOn(given, cfg.Admin.Listen, adminListenKey); err != nil {
		return open, err
	}
	if open.socket, err = listenOnSocket(given, cfg, log); err != nil {
		return open, err
	}
	if cfg.Metrics.Listen != "" {
		if open.metrics, err = listenOn(given, cfg.Metrics.Listen, metricsListenKey); err != nil {
			return open, err
		}
	}
	if sharesWork(cfg) {
		open.fleet, err = listenOn(given, cfg.Fleet.Listen, fleetListenKey)
	}
	return open, err
}

// listenOn returns the given listener for an address, or listens there. With an error it
// returns an untyped nil.
func listenOn(given map[string]net.Listener, address, setting string) (net.Listener, error) {
	if l := given[address]; l != nil {
		return l, nil
	}
	if path, ok := admin.SocketPath(address); ok {
		l, err := server.ListenUnix(path, setting, ownerOnly)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	l, err := server.Listen(address, setting)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// prepareToken makes the token for the admin API if there is none. One that the
// configuration names must be usable.
func prepareToken(cfg *config.Config, log *zap.Logger) (admin.Token, error) {
	token := admin.NewToken(cfg.Admin.TokenFile, cfg.Cache.Dir)
	err := token.Prepare()
	if err == nil || cfg.Admin.TokenFile == "" && isSocket(cfg.Admin.Listen) {
		return token, nil
	}
	if cfg.Admin.TokenFile != "" {
		return token, fmt.Errorf("%s: %w", adminTokenFileKey, err)
	}
	log.Warn("the token for mirrord verify and for profiles cannot be written; both are refused until a restart can write it, or admin.token_file names one", zap.Error(err))
	return token, nil
}

func isSocket(listen string) bool {
	_, ok := admin.SocketPath(listen)
	return ok
}

// adminServers returns the servers of the admin API: that of admin.listen, and those of
// admin.socket and metrics.listen if there are any.
func adminServers(open listening, api, metrics http.Handler, log *zap.Logger) []*server.Server {
	o := server.Options{Handler: api, ErrorLog: zap.NewStdLog(log), ConnContext: admin.WithPeer}
	servers := []*server.Server{server.New(open.admin, o)}
	if open.socket != nil {
		servers = append(servers, server.New(open.socket, o))
	}
	if open.metrics != nil {
		servers = append(servers, server.New(open.metrics, server.Options{Handler: metrics, ErrorLog: zap.NewStdLog(log)}))
	}
	return servers
}

// door is what a listener lets clients in by.
type door struct {
	certificates server.Certificates
	renew        func(context.Context) error // obtains and renews them until its context ends; nil: nothing to do
	auth         *access.Auth                // nil: everybody is let in
}

func loadAuth(c config.Auth, gate *access.Gate) (*access.Auth, error) {
	if c.IsOpen() {
		return nil, nil
	}
	o := access.AuthOptions{Htpasswd: c.Htpasswd, Tokens: c.Tokens, ClientCertificates: c.ClientCertificates}
	for _, i := range c.JWT {
		o.Issuers = append(o.Issuers, access.Issuer{URL: i.Issuer, Audience: i.Audience, Subjects: i.Subjects, JWKSURL: i.JWKSURL, CAFile: i.CAFile})
	}
	return gate.NewAuth(o)
}

// newGate returns what all listeners share to find out who is asking.
func (d *daemon) newGate(cfg *config.Config) *access.Gate {
	return access.NewGate(access.GateOptions{
		Allow:          networks(cfg.Clients.Allow),
		Deny:           networks(cfg.Clients.Deny),
		TrustedProxies: networks(cfg.Clients.TrustedProxies),
		Own:            d.self.is,
		Refused:        d.audit.Refused,
		LoginFailed:    telemetry.LoginFailed(d.log, d.metrics, d.audit),
		FileFailed: func(err error) {
			d.log.Error("changed file of users or tokens cannot be read; the last good one is used", zap.Error(err))
		},
		IssuerFailed: func(issuer string, err error) {
			d.log.Warn("issuer of tokens does not answer; tokens that need its keys are refused", zap.String("issuer", issuer), zap.Error(err))
		},
	})
}

// networks returns the networks of a setting, which are valid.
func networks(cidrs []string) []netip.Prefix {
	var all []netip.Prefix
	for _, cidr := range cidrs {
		all = append(all, netip.MustParsePrefix(cidr))
	}
	return all
}

// mirrorServers returns the servers of the registry.
func (d *daemon) mirrorServers(listeners []*net.TCPListener) []*server.Server {
	var servers []*server.Server
	limit, failed := limitConnections(d.cfg, d.log, d.metrics), proxyHeaderFailed(d.log)
	for i, listener := range d.cfg.AllListeners() {
		accepting := limit(server.CutSlow(listeners[i]))
		if listener.ProxyProtocol {
			accepting = server.ProxyProtocol(accepting, networks(d.cfg.Clients.TrustedProxies), failed)
		}
		servers = append(servers, server.New(accepting, server.Options{
			Handler: d.handlers[i], TLS: d.doors[i].certificates.Config(), ErrorLog: zap.NewStdLog(d.log),
		}))
	}
	return servers
}

// proxyHeaderFailed returns a hook that logs one failure a minute: those of health
// checks come every few seconds.
func proxyHeaderFailed(log *zap.Logger) func(net.Addr, error) {
	lines := rate.Sometimes{Interval: time.Minute}
	return func(peer net.Addr, err error) {
		lines.Do(func() {
			log.Warn("connection of a trusted proxy without a valid PROXY header closed; let it send one, or remove proxy_protocol",
				zap.Stringer("proxy", peer), zap.Error(err))
		})
	}
}
