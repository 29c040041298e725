//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"mirrord/internal/hubsim"
)

// TestRegistriesApart pulls from three registries, of which one has reached its pull
// limit and one is down. The mirror refuses what it cannot get, with the reason, and one
// registry's trouble is not another's. The clients run in parallel: they mostly wait
// before they retry.
func TestRegistriesApart(t *testing.T) {
	for _, c := range routed {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := startMany(t)
			m.hubs["docker.io"].Inject(hubsim.Fault{Op: "manifest", PullLimit: true})
			m.hubs["ghcr.io"].Down()
			client := c.start(t, m)
			message := m.refusal(t, client, "registry.example/team/app:v1")
			wantReason(t, message, `no upstream is named "registry.example"`, c.unknown)
			message = m.refusal(t, client, m.images["docker.io"].ref)
			wantReason(t, message, "docker.io limits pulls until", c.limit)
			m.refusal(t, client, m.images["ghcr.io"].ref)
			m.pull(t, client, m.images["quay.io"])
			if n := m.hubs["quay.io"].Counters(); n.ManifestRequests != 1 {
				t.Errorf("quay.io got %d GETs of manifests, want 1: those of its own image", n.ManifestRequests)
			}
		})
	}
}

// refusal pulls an image that the mirror must refuse, and returns the client's error.
func (m *many) refusal(t *testing.T, c puller, ref string) string {
	t.Helper()
	before := m.refused(t)
	err := c.pull(ref)
	if err == nil {
		t.Fatalf("%s was pulled", ref)
	}
	eventually(t, 5*time.Second, "the mirror refused "+ref, func() bool { return m.refused(t) > before })
	t.Logf("%s: %v", ref, err)
	return err.Error()
}

// wantReason checks whether a client shows the reason of a refusal.
func wantReason(t *testing.T, message, reason string, want bool) {
	t.Helper()
	message = strings.ReplaceAll(message, `\"`, `"`) // as some clients log it
	if shows := strings.Contains(message, reason); shows != want {
		t.Errorf("the client shows %q: %v, want %v: see docs/clients.md", reason, shows, want)
	}
}

// TestRegistryItself is for containerd with a _default for all registries: one that is
// not configured is asked itself.
func TestRegistryItself(t *testing.T) {
	eachDebian(t, func(t *testing.T, from release) {
		m := startMany(t)
		itself := startRegistry(t, refusal{})
		itself.push(t, "team/app", oneLayer(t, 1))
		c := startContainerd(t, from, m.byDefault())
		refused := m.refused(t)
		if err := c.pull(itself.address + "/team/app:v1"); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "the mirror was asked first", func() bool { return m.refused(t) > refused })
	})
}
