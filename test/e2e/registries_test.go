//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/hubsim"
)

// many is a mirror of several registries, with different images under the same names.
type many struct {
	*mirror
	hubs   map[string]*hubsim.Hub // by registry
	images map[string]image
}

func startMany(t *testing.T) *many {
	t.Helper()
	m := &many{hubs: make(map[string]*hubsim.Hub), images: make(map[string]image)}
	settings := []string{"--tags-fresh", tagsFresh.String()}
	for i, registry := range []string{"docker.io", "ghcr.io", "quay.io"} {
		hub := startHub(t)
		img := oneLayer(t, uint64(100+i))
		top, err := hub.AddImage("team/app", "v1", img)
		if err != nil {
			t.Fatal(err)
		}
		m.hubs[registry], m.images[registry] = hub, describe(t, registry+"/team/app:v1", img, top)
		settings = append(settings, "--upstream", "name="+registry+",url="+hub.URL())
	}
	m.mirror = startDaemon(t, settings...)
	return m
}

// paths returns how clients with mirrors reach each registry: by a path.
func (m *many) paths() map[string][]string {
	all := map[string][]string{"registry.example": {m.address + "/registry.example"}} // which is not configured
	for registry := range m.hubs {
		all[registry] = []string{m.address + "/" + registry}
	}
	return all
}

// long returns the name of an image for clients without mirrors.
func (m *many) long(ref string) string { return m.address + "/" + ref }

// hosts returns a hosts.toml for each registry, with its path.
func (m *many) hosts() map[string]string {
	all := make(map[string]string)
	for registry, mirrors := range m.paths() {
		all[registry] = `server = "http://` + mirrors[0] + "\"\n" + mirrorHost(mirrors[0])
	}
	return all
}

// byDefault returns a hosts.toml for all registries.
func (m *many) byDefault() map[string]string {
	return map[string]string{"_default": mirrorHost(m.address)}
}

// routed are the clients by how they name a registry to the mirror, and whether their
// error says that it is not configured, and that its pull limit is reached.
var routed = []struct {
	name           string
	unknown, limit bool
	start          func(t *testing.T, m *many) client
}{
	{"containerd of Debian 12 by ns", false, true, func(t *testing.T, m *many) client { return startContainerd(t, debian12, m.byDefault()) }},
	{"containerd of Debian 12 by path", false, true, func(t *testing.T, m *many) client { return startContainerd(t, debian12, m.hosts()) }},
	{"containerd 2 by ns", false, true, func(t *testing.T, m *many) client { return startContainerd(t, newest, m.byDefault()) }},
	{"containerd 2 by path", false, true, func(t *testing.T, m *many) client { return startContainerd(t, newest, m.hosts()) }},
	{"podman of Debian 12", true, false, func(t *testing.T, m *many) client { return startPodman(t, debian12, m.paths()) }},
	{"podman 5", true, true, func(t *testing.T, m *many) client { return startPodman(t, newest, m.paths()) }},
	{"podman 5 by location", true, true, func(t *testing.T, m *many) client { return newPodmanByLocation(t, m.paths()) }},
	{"skopeo of Debian 12", true, false, func(t *testing.T, m *many) client { return startSkopeo(t, debian12, m.paths()) }},
	{"skopeo 1.22", true, true, func(t *testing.T, m *many) client { return startSkopeo(t, newest, m.paths()) }},
	{"buildah", true, true, func(t *testing.T, m *many) client { return startBuildah(t, m.paths()) }},
	{"BuildKit", false, true, func(t *testing.T, m *many) client { return startBuildKit(t, m.paths()) }},
	{"crane", true, true, func(t *testing.T, m *many) client { return startCrane(t, m.long) }},
	{"oras", false, true, func(t *testing.T, m *many) client { return startOras(t, m.long) }},
	{"regctl", false, true, func(t *testing.T, m *many) client {
		hosts := map[string]string{"docker.io": "registry-1.docker.io", "ghcr.io": "ghcr.io", "quay.io": "quay.io", "registry.example": "registry.example"}
		return startRegctl(t, hosts, []string{m.address})
	}},
}

// TestRegistries pulls the same name from three registries through one port.
func TestRegistries(t *testing.T) {
	for _, c := range routed {
		t.Run(c.name, func(t *testing.T) {
			m := startMany(t)
			m.exercise(t, c.start(t, m))
		})
	}
}

// newPodmanByLocation returns a podman that finds the registries at the mirror instead of
// where they are.
func newPodmanByLocation(t *testing.T, paths map[string][]string) *podman {
	t.Helper()
	p := startPodman(t, newest, nil)
	config := "unqualified-search-registries = []\n"
	for registry, mirrors := range paths {
		config += fmt.Sprintf("[[registry]]\nprefix = %q\nlocation = %q\ninsecure = true\n", registry, mirrors[0])
	}
	p.home.write(t, "registries.conf", config)
	return p
}

// TestHelmChart pulls a chart as Helm does, with oras, its library: the media types are
// not those of an image.
func TestHelmChart(t *testing.T) {
	m := startMany(t)
	const config, chart = `{"name":"app","version":"1.0.0"}`, "the archive of a chart"
	hub := m.hubs["ghcr.io"]
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": descriptor("application/vnd.cncf.helm.config.v1+json", hub.AddBlob("charts/app", []byte(config)), len(config), ""),
		"layers": []any{descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", hub.AddBlob("charts/app", []byte(chart)), len(chart), "app-1.0.0.tgz")},
	})
	if err != nil {
		t.Fatal(err)
	}
	hub.AddManifest("charts/app", "1.0.0", "application/vnd.oci.image.manifest.v1+json", manifest)
	oras := startOras(t, m.long)
	dir := oras.home.path("chart")
	oras.must(t, "pull", "--plain-http", "--output", dir, m.long("ghcr.io/charts/app:1.0.0"))
	if got, err := os.ReadFile(path.Join(dir, "app-1.0.0.tgz")); string(got) != chart || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// descriptor describes a blob; oras writes one with a title to a file of that name.
func descriptor(mediaType string, d digest.Digest, size int, title string) map[string]any {
	described := map[string]any{"mediaType": mediaType, "digest": d, "size": size}
	if title != "" {
		described["annotations"] = map[string]string{"org.opencontainers.image.title": title}
	}
	return described
}

// TestDockerdByPath is for Docker, which uses mirrors for Docker Hub only. That of Debian
// 12 does not start with a mirror that has a path.
func TestDockerdByPath(t *testing.T) {
	_, err := debian12.home(t, "dockerd").run("dockerd", "--registry-mirror", "http://127.0.0.1:5000/docker.io", "--version")
	if err == nil || !strings.Contains(err.Error(), "invalid mirror: path") {
		t.Errorf("Docker of Debian 12 with a path in a mirror: %v; see docs/clients.md", err)
	}
	for _, store := range []store{graphDriver, containerdStore} {
		t.Run(store.name, func(t *testing.T) {
			m := startMany(t)
			for registry := range m.images {
				if registry != "docker.io" {
					delete(m.images, registry)
				}
			}
			m.exercise(t, newDockerd(t, newest, store, m.address+"/docker.io"))
		})
	}
}

// exercise pulls the image of each registry: cold, which asks that registry alone, and
// warm with the registries down. An image of a registry that is not configured is
// refused without asking one.
func (m *many) exercise(t *testing.T, c client) {
	t.Helper()
	for registry, img := range m.images {
		m.pull(t, c, img)
		for other, hub := range m.hubs {
			n := hub.Counters()
			if other != registry && n.Requests > 0 {
				t.Errorf("%s was asked %d times for an image of %s", other, n.Requests, registry)
			}
			if other == registry {
				diff(t, "manifest GETs by digest", once(img.manifests), n.ManifestGETsByDigest)
				diff(t, "blob GETs by digest", once(img.blobs), n.BlobGETsByDigest)
			}
			hub.Reset()
		}
	}
	if err := c.pull("registry.example/team/app:v1"); err == nil {
		t.Error("an image of a registry that is not configured was pulled")
	} else {
		lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
		t.Logf("not configured: %.300s", lines[len(lines)-1])
	}
	for registry, hub := range m.hubs {
		if n := hub.Counters().Requests; n > 0 {
			t.Errorf("%s was asked %d times for an image of another registry", registry, n)
		}
		hub.Down()
	}
	for _, img := range m.images {
		c.remove(t, img.ref)
		m.pull(t, c, img)
	}
}

func (m *many) pull(t *testing.T, c client, img image) {
	t.Helper()
	if err := c.pull(img.ref); err != nil {
		t.Fatal(err)
	}
	check(t, c, img)
}

// TestSkopeoVerbs is about what skopeo does beside copying, which ignores mirrors: it
// names the mirror.
func TestSkopeoVerbs(t *testing.T) {
	m := startMany(t)
	s := startSkopeo(t, newest, nil)
	names := make(map[string][]string)
	for registry, img := range m.images {
		name := "docker://" + m.long(registry+"/team/app")
		if tags := s.must(t, "list-tags", "--tls-verify=false", name); !strings.Contains(tags, `"v1"`) {
			t.Errorf("%s: tags %s", registry, tags)
		}
		if top := s.must(t, "inspect", "--tls-verify=false", "--format", "{{.Digest}}", name+":v1"); top != img.manifests[0] {
			t.Errorf("%s: %s, want %s", registry, top, img.manifests[0])
		}
		names[registry+"/team/app"] = []string{"v1"}
	}
	list, err := json.Marshal(map[string]any{m.address: map[string]any{"tls-verify": false, "images": names}}) // which is YAML
	if err != nil {
		t.Fatal(err)
	}
	dir := s.home.path("synced")
	s.must(t, "sync", "--src", "yaml", "--dest", "dir", "--scoped", s.home.write(t, "sync.yaml", string(list)), dir)
	for registry, img := range m.images {
		raw, err := os.ReadFile(path.Join(dir, m.long(registry+"/team/app:v1"), "manifest.json"))
		if err != nil || digest.FromBytes(raw).String() != img.manifests[0] {
			t.Errorf("%s: %s, %v", registry, raw, err)
		}
	}
}
