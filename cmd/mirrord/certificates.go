package main

import (
	"context"
	"path/filepath"

	"go.uber.org/zap"

	"mirrord/internal/acme"
	"mirrord/internal/config"
	"mirrord/internal/server"
	"mirrord/internal/telemetry"
)

// loadCertificates reads the certificates of a listener, or prepares to obtain them with
// renew, which is nil for those in files.
func loadCertificates(cfg *config.Config, listener config.Listener, log *zap.Logger) (all server.Certificates, renew func(context.Context) error, err error) {
	if !listener.ACME.Enabled() {
		all, err = loadCertificateFiles(listener, log)
		return all, nil, err
	}
	obtained, err := acme.New(acme.Options{
		Domains: listener.ACME.Domains, Email: listener.ACME.Email, Directory: listener.ACME.Directory, CAFile: listener.ACME.CAFile,
		Dir: filepath.Join(cfg.Cache.Dir, "acme"), Address: listener.Address, Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	return obtained, obtained.Run, nil
}

func loadCertificateFiles(listener config.Listener, log *zap.Logger) (*server.Certificate, error) {
	failed := func(err error) {
		log.Error("changed certificate cannot be read; the last good one is used", zap.Error(err))
	}
	files := server.TLSFiles{
		Certificate: listener.TLS.CertFile, Key: listener.TLS.KeyFile, ClientCAs: listener.TLS.ClientCAFile,
		OptionalClientCertificate: listener.Auth.ClientCertificates && listener.Auth.HasLogin(),
	}
	return server.LoadCertificate(files, failed)
}

// renewals are what obtains certificates until its context ends.
func renewals(doors []door) []func(context.Context) error {
	var all []func(context.Context) error
	for _, d := range doors {
		if d.renew != nil {
			all = append(all, d.renew)
		}
	}
	return all
}

// validities returns those of the certificates that there are.
func (d *daemon) validities() (all []telemetry.Validity) {
	for i, listener := range d.cfg.AllListeners() {
		if from, until := d.doors[i].certificates.Validity(); !until.IsZero() {
			all = append(all, telemetry.Validity{Listen: listener.Address, From: from, Until: until})
		}
	}
	return all
}
