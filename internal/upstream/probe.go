package upstream

import (
	"context"
	"time"

	"mirrord/internal/oci"
)

// A HEAD of this image is the documented way to read Docker Hub's limit; it is free.
const (
	previewRepository = "ratelimitpreview/test"
	previewTag        = "latest"
)

// Preview returns that image.
func Preview() oci.Ref {
	preview, err := oci.ParseManifest(oci.DockerHub, previewRepository, previewTag)
	if err != nil {
		panic(err) // a constant
	}
	return preview
}

// Probe asks Docker Hub for the budget of each member for which none was reported for
// idle; other registries have no such request. A member without a response is asked
// again after the same time. Call it from one goroutine.
func (p *Pool) Probe(ctx context.Context, idle time.Duration) {
	if p.opts.Name != oci.DockerHub {
		return
	}
	preview := Preview()
	for i, m := range p.opts.Members {
		now := time.Now()
		told := m.Budget().Observed
		if p.probed[i].After(told) {
			told = p.probed[i]
		}
		if now.Sub(told) < idle || p.disabledErr(i) != nil {
			continue
		}
		p.probed[i] = now
		_, err := m.Registry.Resolve(ctx, preview)
		p.recordLogin(i, err)
	}
}
