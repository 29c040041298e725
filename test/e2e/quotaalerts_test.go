//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// The alerts tell that the pull limit is nearly reached, and then that it is.
func TestQuotaAlerts(t *testing.T) {
	const limit = 20
	hub := startLimited(t, limit)
	m := startMirror(t, hub)
	p := startPrometheus(t, m)
	pull := func(i int) {
		name := fmt.Sprintf("image%d", i)
		publishOne(t, hub, name, uint64(i))
		if _, ok := fetch(t, m.url()+"/v2/library/"+name+"/manifests/v1"); !ok {
			t.Fatalf("pull %d of %d failed", i, limit)
		}
	}
	for i := range limit - 1 {
		pull(i + 1)
	}
	p.await(t, `mirrord_upstream_quota_remaining == 1 and on () count_over_time(up{job="mirrord"}[1m]) > 5`)
	want(t, "low", p.observed(t, "low", "MirrordQuotaLow"), map[string]float64{"Pull budget left": 0.05, "Pulls possible in": 0})
	p.awaitAlert(t, "MirrordQuotaLow")

	pull(limit)
	p.await(t, `mirrord_upstream_quota_remaining == 0`)
	want(t, "gone", p.observed(t, "gone", "MirrordQuotaGone"), map[string]float64{"Pull budget left": 0})
	p.awaitAlert(t, "MirrordQuotaGone")
}
