package main

import (
	"errors"
	"fmt"
	"net"

	"go.uber.org/zap"

	"mirrord/internal/config"
	"mirrord/internal/proxy"
	"mirrord/internal/server"
)

// listening are the open listeners.
type listening struct {
	mirrors []*net.TCPListener // in the order of cfg.AllListeners
	admin   *net.TCPListener
}

// listen listens on all addresses, or on none.
func listen(cfg *config.Config) (open listening, err error) {
	defer func() {
		if err != nil {
			for _, l := range open.mirrors {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	for _, listener := range cfg.AllListeners() {
		l, err := server.Listen(listener.Address, "listen")
		if err != nil {
			return open, err
		}
		open.mirrors = append(open.mirrors, l)
	}
	open.admin, err = server.Listen(cfg.Admin.Listen, adminListenKey)
	return open, err
}

// loadCertificates returns the certificate of each listener, or none.
func loadCertificates(cfg *config.Config, log *zap.Logger) ([]*server.Certificate, error) {
	var all []*server.Certificate
	for _, listener := range cfg.AllListeners() {
		certificate, err := loadCertificate(listener, log.With(zap.String("listen", listener.Address)))
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", listener.Address, err)
		}
		all = append(all, certificate)
	}
	return all, nil
}

func loadCertificate(listener config.Listener, log *zap.Logger) (*server.Certificate, error) {
	failed := func(err error) {
		log.Error("changed certificate cannot be read; the last good one is used", zap.Error(err))
	}
	files := server.TLSFiles{Certificate: listener.TLS.CertFile, Key: listener.TLS.KeyFile, ClientCAs: listener.TLS.ClientCAFile}
	return server.LoadCertificate(files, failed)
}

// mirrorServers returns the servers of the registry. One that is bound to an upstream
// serves only that.
func mirrorServers(cfg *config.Config, listeners []*net.TCPListener, certificates []*server.Certificate, o proxy.Options, log *zap.Logger) []*server.Server {
	var servers []*server.Server
	for i, listener := range cfg.AllListeners() {
		o.Upstream = listener.Upstream
		servers = append(servers, server.New(server.CutSlow(listeners[i]), server.Options{
			Handler: proxy.New(o), TLS: certificates[i].Config(), ConnContext: withClient, ErrorLog: zap.NewStdLog(log),
		}))
	}
	return servers
}
