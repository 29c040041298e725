//go:build e2e

package e2e

import (
	"strings"
	"sync"
	"testing"
	"time"

	"mirrord/internal/hubsim"
)

// startSharing starts a mirror that agrees with others on who fetches what, and waits until
// it can.
func startSharing(t *testing.T, hub *hubsim.Hub, s *objectStore) *mirror {
	t.Helper()
	s.home.write(t, "fleet", "the secret of all mirrors\n")
	m := startMemberWith(t, hub, s, "--tags-fresh", "10m", "--fleet-secret-file", s.home.path("fleet"), "--fleet-listen", freeAddress(t))
	m.awaitSharing(t)
	return m
}

// awaitSharing returns when the mirror knows that the bucket can do what agreeing needs: until
// then it fetches by itself.
func (m *mirror) awaitSharing(t *testing.T) {
	t.Helper()
	m.process.await(t, time.Minute, func() bool {
		now := m.metrics(t)
		return now[`mirrord_fleet_capability{capability="conditions"}`] == 1 && now[`mirrord_fleet_capability{capability="secret"}`] == 1
	})
}

// startThree starts three mirrors that agree on who fetches what.
func startThree(t *testing.T, hub *hubsim.Hub, s *objectStore) []*mirror {
	t.Helper()
	return []*mirror{startSharing(t, hub, s), startSharing(t, hub, s), startSharing(t, hub, s)}
}

// pullTogether pulls with so many clients of each mirror at once, each into a directory of its
// own, and calls meanwhile.
func pullTogether(t *testing.T, img image, clients int, meanwhile func(), mirrors ...*mirror) {
	t.Helper()
	var all sync.WaitGroup
	for _, m := range mirrors {
		for range clients {
			c := newSkopeo(t, debian12, m.address)
			all.Go(func() {
				if err := c.pull(img.ref); err != nil {
					t.Error(err)
				}
				check(t, c, img)
			})
		}
	}
	meanwhile()
	all.Wait()
}

// What the clients of three mirrors want at the same time is fetched once: one mirror
// fetches, and the others read from it while it does.
func TestFleetTogether(t *testing.T) {
	hub, store := startHub(t), startStore(t)
	mirrors := startThree(t, hub, store)
	img := publishLayers(t, hub, 8, 2<<20)
	defer hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: 1 << 20})()
	n := spent(t, hub, mirrors[0], "together", func() { pullTogether(t, img, 4, func() {}, mirrors...) })
	diff(t, "manifest GETs by digest", once(img.manifests), n.ManifestGETsByDigest)
	diff(t, "blob GETs from the first byte by digest", once(img.blobs), n.BlobGETsByDigest)
	peers := 0.0
	for _, m := range mirrors {
		for series, value := range m.metrics(t) {
			if strings.HasPrefix(series, "mirrord_requests_total{") && strings.Contains(series, `via="peer"`) {
				peers += value
			}
		}
	}
	if peers == 0 {
		t.Error("no response is from another mirror")
	}
}

// A mirror that is killed while others read from it costs their clients nothing: one of
// them goes on where it was.
func TestFleetHolderKilled(t *testing.T) {
	hub, store := startHub(t), startStore(t)
	holder := startSharing(t, hub, store)
	others := []*mirror{startSharing(t, hub, store), startSharing(t, hub, store)}
	img := publishLayers(t, hub, 4, 4<<20)
	defer hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: 1 << 20})()
	doomed := newSkopeo(t, debian12, holder.address)
	var killed sync.WaitGroup
	killed.Go(func() { _ = doomed.pull(img.ref) })
	holder.process.await(t, time.Minute, func() bool { return holder.metrics(t)[`mirrord_fleet_fetches_total{role="holder"}`] > 1 })
	pullTogether(t, img, 2, func() {
		holder.process.await(t, time.Minute, func() bool { return holder.metrics(t)["mirrord_fleet_sibling_streams"] > 0 })
		holder.process.kill()
	}, others...)
	killed.Wait()
	takeovers := 0.0
	for _, m := range others {
		takeovers += m.metrics(t)[`mirrord_fleet_fetches_total{role="takeover"}`]
	}
	if takeovers == 0 {
		t.Error("nobody has taken over")
	}
}
