package main

import (
	"context"

	"go.uber.org/zap"

	"mirrord/internal/config"
	"mirrord/internal/doctor"
	"mirrord/internal/oci"
	"mirrord/internal/stack"
	"mirrord/internal/tags"
	"mirrord/internal/telemetry"
	"mirrord/internal/upstream"
)

// examine checks the running mirror: with its network, its logins and its files.
func (d *daemon) examine(ctx context.Context, report func(doctor.Check)) {
	cfg := d.policy.current.Load().cfg
	m, err := patient(cfg)
	if err != nil {
		report(*err)
	}
	m.Process = true
	known := d.mirror.Tags.All()
	for _, s := range d.mirror.Sources() {
		m.Upstreams = append(m.Upstreams, doctor.Upstream{Pool: s.Pool, Hosts: s.Hosts, Reserve: d.policy.reserve, Image: exampleOf(s.Upstream(), known)})
	}
	m.Check(ctx, report)
}

// examineHere checks what a mirror of that configuration would need, from this process.
func examineHere(ctx context.Context, cfg *config.Config, report func(doctor.Check)) {
	m, err := patient(cfg)
	if err != nil {
		report(*err)
	}
	for _, u := range cfg.Upstreams {
		if cfg.Offline {
			report(doctor.Check{Name: "upstream " + u.Name, State: doctor.OK, Detail: "not asked, because of offline: true"})
			continue
		}
		built, err := buildUpstream(u, cfg.Quota.Reserve.Of, zap.NewNop(), telemetry.NewMetrics(thisBuild().Version), nil)
		if err != nil {
			report(doctor.Check{Name: "upstream " + u.Name, State: doctor.Fail, Detail: err.Error(), Hint: "correct its settings, or run this as the user of the mirror if a file cannot be read; mirrord config check says more"})
			continue
		}
		for _, s := range stack.Connect(built) {
			m.Upstreams = append(m.Upstreams, doctor.Upstream{Pool: s.Pool, Hosts: s.Hosts, Reserve: cfg.Quota.Reserve.Of, Image: exampleOf(s.Upstream(), nil)})
		}
	}
	m.Check(ctx, report)
}

// patient returns what of a configuration is checked, but for the upstreams, and what
// failed in that.
func patient(cfg *config.Config) (m doctor.Mirror, failed *doctor.Check) {
	m = doctor.Mirror{Dir: cfg.Cache.Dir, MaxSize: int64(cfg.Cache.MaxSize), MinFree: int64(cfg.Cache.MinFree)}
	if !cfg.Fleet.S3.Enabled() {
		return m, nil
	}
	bucket, err := newBucket(cfg.Fleet.S3)
	if err != nil {
		return m, &doctor.Check{Name: "fleet bucket", State: doctor.Fail, Detail: err.Error(), Hint: "correct fleet.s3; mirrord config check says more"}
	}
	m.Bucket, m.BucketName = bucket, cfg.Fleet.S3.Bucket+" at "+cfg.Fleet.S3.Endpoint
	return m, nil
}

// exampleOf returns a tag of an upstream that it should have: the one that it confirmed last,
// and of Docker Hub the image that is there for that. It is zero when none is known.
func exampleOf(name string, known []tags.Known) oci.Ref {
	if name == oci.DockerHub {
		return upstream.Preview()
	}
	var last tags.Known
	for _, k := range known {
		if k.Ref.Upstream() == name && k.Refused == "" && k.Checked.After(last.Checked) {
			last = k
		}
	}
	return last.Ref
}
