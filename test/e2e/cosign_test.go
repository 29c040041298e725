//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"mirrord/internal/hubsim"
)

// unsigned is cosign's error for an image without signatures.
const unsigned = "no signatures found"

// TestCosign verifies signatures of both kinds through the mirror: tagged ones, and
// bundles, which are found as referrers. A mirror that cannot serve a signature must
// never claim that there is none.
func TestCosign(t *testing.T) {
	for _, kind := range []string{"tag", "bundle"} {
		t.Run(kind, func(t *testing.T) {
			hub := startHub(t)
			m := startMirror(t, hub)
			c := newCosign(t)
			signed, unseen := c.publish(t, hub, "signed", kind, 1), c.publish(t, hub, "unseen", kind, 2)

			for _, phase := range []string{"cold", "warm"} {
				spent(t, hub, m, phase, func() {
					if err := c.verify(at(m.address, signed)); err != nil {
						t.Error(err)
					}
				})
			}
			plain := publishPinned(t, hub, "plain", 3)
			if err := c.verify(at(m.address, plain.ref)); err == nil || !strings.Contains(err.Error(), unsigned) {
				t.Errorf("an image without a signature: %v", err)
			}
			m.cache(t, unseen) // but not its signature
			hub.Down()
			spent(t, hub, m, "hub down", func() {
				if err := c.verify(at(m.address, signed)); err != nil {
					t.Error(err)
				}
			})
			spent(t, hub, m, "not cached", func() {
				err := c.verify(at(m.address, unseen))
				if err == nil || strings.Contains(err.Error(), unsigned) {
					t.Errorf("cosign considers an image unsigned: %v", err)
				}
				t.Logf("cosign says: %v", err)
			})
		})
	}
}

// cosign has a key pair. It does not support mirrors.
type cosign struct{ tool }

func newCosign(t *testing.T) *cosign {
	t.Helper()
	h := newest.home(t, "cosign")
	h.env = append(h.env, "COSIGN_PASSWORD=")
	c := &cosign{h.tool("cosign")}
	c.must(t, "generate-key-pair")
	newest.ran(t, unpacked(t, "cosign"))
	return c
}

func (c *cosign) verify(ref string) error {
	_, err := c.run("verify", "--key", c.home.path("cosign.pub"), "--insecure-ignore-tlog", "--allow-http-registry", ref)
	return err
}

// publish adds an image and its signature to the hub, by way of a registry that accepts
// pushes, and returns the image by digest.
func (c *cosign) publish(t *testing.T, hub *hubsim.Hub, repository, kind string, seed uint64) string {
	t.Helper()
	scratch := startRegistry(t, refusal{})
	img := oneLayer(t, seed)
	top, err := hub.AddImage("library/"+repository, "v1", img)
	if err != nil {
		t.Fatal(err)
	}
	ref := "docker.io/library/" + repository + "@" + top.String()
	scratch.push(t, "library/"+repository, img)
	c.must(t, "sign", "--key", c.home.path("cosign.key"), "--yes", "--tlog-upload=false", "--use-signing-config=false",
		fmt.Sprintf("--new-bundle-format=%t", kind == "bundle"), "--allow-http-registry", at(scratch.address, ref))

	tag := scratch.address + "/library/" + repository + ":sha256-" + top.Hex
	if kind == "tag" {
		addRemote(t, hub, repository, "sha256-"+top.Hex+".sig", tag+".sig")
		return ref
	}
	// In a registry without referrers, as this one, an index of them has a tag.
	referrers, err := remote.Index(parse(t, tag))
	if err != nil {
		t.Fatal(err)
	}
	list, err := referrers.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, bundle := range list.Manifests {
		addRemote(t, hub, repository, "", scratch.address+"/library/"+repository+"@"+bundle.Digest.String())
	}
	return ref
}

// addRemote copies a signature from a registry into the hub.
func addRemote(t *testing.T, hub *hubsim.Hub, repository, tag, from string) {
	t.Helper()
	img, err := remote.Image(parse(t, from))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hub.AddImage("library/"+repository, tag, img); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, ref string) name.Reference {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// cache makes the mirror cache a manifest by digest.
func (m *mirror) cache(t *testing.T, ref string) {
	t.Helper()
	repository, digest, _ := strings.Cut(strings.TrimPrefix(ref, "docker.io/"), "@")
	if resp := m.get(t, "/v2/"+repository+"/manifests/"+digest); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", ref, resp.Status)
	}
}

// unpacked is the package of a program that does not report its own version.
func unpacked(t *testing.T, program string) string {
	t.Helper()
	packages, err := os.ReadFile(filepath.Join(newest.root, "unpacked"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(packages)) {
		if strings.HasPrefix(line, program+"_") {
			return line
		}
	}
	return program
}
