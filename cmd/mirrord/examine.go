package main

import (
	"context"
	"slices"

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
func (d *daemon) examine(ctx context.Context, report func(doctor.Check)) doctor.Served {
	cfg := d.policy.current.Load().cfg
	m, err := patient(cfg)
	if err != nil {
		report(*err)
	}
	m.Process, m.Disk, m.Holds = true, d.disk, d.mirror.Cache.Stats().Bytes
	m.CheckDisk(ctx, report)
	known := confirmed(d.mirror.Tags.All())
	layers := d.layersOf(ctx, known)
	for _, s := range d.mirror.Sources() {
		m.Upstreams = append(m.Upstreams, doctor.Upstream{
			Pool: s.Pool, Hosts: s.Hosts, Reserve: d.policy.reserve, Image: exampleOf(s.Upstream(), known), Blob: layers[s.Upstream()],
		})
	}
	m.Check(ctx, report)
	for _, c := range d.fleet.checks() {
		report(c)
	}
	return served(cfg)
}

// examineHere checks what a mirror of that configuration would need, from this process. It
// returns what the clients of one have to know.
func examineHere(ctx context.Context, cfg *config.Config, report func(doctor.Check)) doctor.Served {
	m, err := patient(cfg)
	if err != nil {
		report(*err)
	}
	m.Disk = doctor.NewDisk()
	m.CheckDisk(ctx, report)
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
	return served(cfg)
}

// served is what clients of a mirror of that configuration have to know.
func served(cfg *config.Config) doctor.Served {
	s := doctor.Served{Upstreams: names(cfg), Aliases: make(map[string]string)}
	for _, u := range cfg.Upstreams {
		for _, alias := range u.Aliases {
			s.Aliases[alias] = u.Name
		}
	}
	for _, l := range cfg.AllListeners() {
		s.Listeners = append(s.Listeners, doctor.Listener{Address: l.Address, TLS: scheme(l) == "https", Upstream: l.Upstream})
	}
	return s
}

// patient returns what of a configuration is checked, but for the upstreams, and what
// failed in that.
func patient(cfg *config.Config) (m doctor.Mirror, failed *doctor.Check) {
	m = doctor.Mirror{Dir: cfg.Cache.Dir, Fills: fillsDir(cfg.Cache.Dir), MaxSize: int64(cfg.Cache.MaxSize), MinFree: int64(cfg.Cache.MinFree)}
	if !cfg.Fleet.S3.Enabled() {
		return m, nil
	}
	bucket, err := newBucket(cfg.Fleet.S3, 0)
	if err != nil {
		return m, &doctor.Check{Name: "fleet bucket", State: doctor.Fail, Detail: err.Error(), Hint: "correct fleet.s3; mirrord config check says more"}
	}
	m.Bucket, m.BucketName = bucket, cfg.Fleet.S3.Bucket+" at "+cfg.Fleet.S3.Endpoint
	return m, nil
}

// confirmed returns those of all tags that their upstream has, the one that it confirmed
// last first.
func confirmed(all []tags.Known) []tags.Known {
	all = slices.DeleteFunc(all, func(k tags.Known) bool { return k.Refused != "" })
	slices.SortFunc(all, func(a, b tags.Known) int { return b.Checked.Compare(a.Checked) })
	return all
}

// exampleOf returns the first of the tags of an upstream, and of Docker Hub the image that
// is there for that. It is zero when none is known.
func exampleOf(name string, known []tags.Known) oci.Ref {
	if name == oci.DockerHub {
		return upstream.Preview()
	}
	for _, k := range known {
		if k.Ref.Upstream() == name {
			return k.Ref
		}
	}
	return oci.Ref{}
}

// layersOf returns what layerOf does, by upstream. That reads manifests from the disk: of one
// that hangs nothing is known.
func (d *daemon) layersOf(ctx context.Context, known []tags.Known) map[string]oci.Ref {
	layers, err := doctor.Use(ctx, d.disk, func() map[string]oci.Ref {
		found := make(map[string]oci.Ref)
		for _, s := range d.mirror.Sources() {
			found[s.Upstream()] = d.layerOf(ctx, s.Upstream(), known)
		}
		return found
	})
	if err != nil {
		return nil
	}
	return layers
}

// layerOf returns a layer of the first tag of an upstream that has one that is large enough.
// It is zero when none of a hundred has.
func (d *daemon) layerOf(ctx context.Context, name string, known []tags.Known) oci.Ref {
	tried := 0
	for _, k := range known {
		if k.Ref.Upstream() != name {
			continue
		}
		if layer, ok := d.images.Layer(ctx, k.Ref, doctor.LeastBlob); ok {
			return layer
		}
		if tried++; tried == 100 {
			break
		}
	}
	return oci.Ref{}
}
