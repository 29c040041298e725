//go:build e2e

package e2e

import (
	"html"
	"io"
	"net/http"
	"regexp"
	"testing"
)

// What the status page says to write makes clients pull from each registry through the
// mirror, also with the registries down.
func TestPageConnects(t *testing.T) {
	for name, start := range map[string]func(*testing.T, *many) client{
		"podman of Debian 12": func(t *testing.T, m *many) client {
			p := startPodman(t, debian12, nil)
			p.home.env = append(p.home.env, "CONTAINERS_REGISTRIES_CONF="+p.home.write(t, "page.conf", m.block(t, "podman")))
			return p
		},
		"BuildKit": func(t *testing.T, m *many) client { return configureBuildKit(t, m.block(t, "buildkit")) },
	} {
		t.Run(name, func(t *testing.T) {
			m := startMany(t)
			c := start(t, m)
			for _, img := range m.images {
				m.pull(t, c, img)
			}
			for registry, hub := range m.hubs {
				if n := hub.Counters(); n.ManifestRequests != 1 {
					t.Errorf("%s got %d GETs of manifests, want 1", registry, n.ManifestRequests)
				}
				hub.Down()
			}
			again := start(t, m)
			for _, img := range m.images {
				m.pull(t, again, img)
			}
		})
	}
}

// block returns the first text that the status page has to copy for a client.
func (m *many) block(t *testing.T, client string) string {
	t.Helper()
	resp, err := http.Get("http://" + m.admin + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?s)<summary>` + client + `</summary>.*?<pre>(.*?)</pre>`).FindStringSubmatch(string(page))
	if found == nil {
		t.Fatalf("the page has nothing for %s", client)
	}
	return html.UnescapeString(found[1])
}
