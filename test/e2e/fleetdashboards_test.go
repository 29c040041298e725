//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"testing"
)

// The panels of a mirror with a bucket have values, and the alert on wrong bytes fires when
// there are some, and no other.
func TestFleetDashboards(t *testing.T) {
	hub, store := startHub(t), startStore(t)
	first, second := startMember(t, hub, store), startMember(t, hub, store)
	p := startPrometheus(t, second)
	img := publishLayers(t, hub, 2, 512<<10)
	first.pull(t, img)
	first.uploaded(t, store, img)
	p.await(t, `mirrord_fleet_bucket_corrupt_total == 0`)
	second.pull(t, img)
	p.await(t, `sum(increase(mirrord_fleet_bucket_bytes_total{direction="read"}[10m])) > 0`)
	p.await(t, `sum(mirrord_fleet_capability{capability!="secret"}) == 3`)
	want(t, "fleet", p.observed(t, "fleet"), map[string]float64{"Uploads waiting": 0, "Wrong bytes in the bucket": 0, "What the store can do": 3})

	img = publishLayers(t, hub, 3, 512<<10)
	first.pull(t, img)
	first.uploaded(t, store, img)
	object := store.object(img.blobs[len(img.blobs)-1])
	raw, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(object, bytes.ToUpper(raw), 0o644); err != nil {
		t.Fatal(err)
	}
	fetch(t, second.url()+"/v2/library/layers/blobs/"+img.blobs[len(img.blobs)-1])
	p.await(t, `sum(increase(mirrord_fleet_bucket_corrupt_total[1h])) > 0`)
	if n := p.observed(t, "wrong bytes", "MirrordBucketCorrupt")["Wrong bytes in the bucket"]; n <= 0 {
		t.Errorf("the panel on wrong bytes shows %v", n)
	}
}
