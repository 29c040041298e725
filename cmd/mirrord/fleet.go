package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"go.uber.org/zap"

	"mirrord/internal/config"
	"mirrord/internal/fleet/bucket/s3"
	"mirrord/internal/index"
	"mirrord/internal/stack"
	"mirrord/internal/telemetry"
)

// newFleet returns what the mirror shares with others, or nil. Nothing is sent: a bucket
// that cannot be reached is no reason not to start.
func newFleet(cfg *config.Config, queue *index.Index, log *zap.Logger, metrics *telemetry.Metrics) (*stack.Fleet, error) {
	if !cfg.Fleet.S3.Enabled() {
		return nil, nil
	}
	b, err := newBucket(cfg.Fleet.S3, int64(cfg.Fleet.UploadBandwidth))
	if err != nil {
		return nil, fmt.Errorf("fleet.s3: %w", err)
	}
	secret, err := readFleetSecret(cfg.Fleet.SecretFile)
	if err != nil {
		return nil, err
	}
	if secret.IsZero() {
		log.Info("the mirrors of the fleet share content alone; give all of them one fleet.secret_file to share downloads in flight, what tags name and the pull limit, too")
	}
	return &stack.Fleet{Bucket: metrics.Bucket(b), Queue: queue, Secret: secret, SharePrivate: cfg.Fleet.Private == config.PrivateShare, Hooks: telemetry.FleetHooks(log, metrics)}, nil
}

// newBucket returns the bucket of c, to which at most limit bytes a second are uploaded; 0
// means no limit.
func newBucket(c config.S3, limit int64) (*s3.Bucket, error) {
	endpoint, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	transport.DisableCompression = true // the bytes have a digest
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		if transport.TLSClientConfig.RootCAs, err = readCAs(c.CAFile); err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
	}
	secret, err := readSecretKey(c)
	if err != nil {
		return nil, fmt.Errorf("secret_key_file: %w", err)
	}
	return s3.New(s3.Options{
		Endpoint: endpoint, Bucket: c.Bucket, Prefix: c.Prefix, Region: c.Region, PathStyle: c.PathStyle,
		AccessKey: c.AccessKey, SecretKey: secret, Transport: transport, UploadLimit: limit,
	})
}

func readSecretKey(c config.S3) (string, error) {
	if c.SecretKeyFile == "" {
		return "", nil
	}
	raw, err := os.ReadFile(c.SecretKeyFile)
	if err != nil {
		return "", err
	}
	secret := bytes.TrimSpace(raw)
	if len(secret) == 0 {
		return "", errors.New(c.SecretKeyFile + " is empty; write the secret of access_key into it")
	}
	return string(secret), nil
}
