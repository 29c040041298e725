//go:build e2e

package e2e

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
)

func TestContainerd(t *testing.T) {
	eachDebian(t, func(t *testing.T, from release) {
		hub := startHub(t)
		m := startMirror(t, hub)
		exercise(t, hub, m, newContainerd(t, from, m.address), true)
	})
}

// containerd is a daemon used with ctr.
type containerd struct {
	tool           // ctr
	flags []string // of a pull
}

func newContainerd(t *testing.T, from release, mirrors ...string) *containerd {
	t.Helper()
	hosts := `server = "http://` + mirrors[len(mirrors)-1] + "\"\n"
	for _, mirror := range mirrors {
		hosts += mirrorHost(mirror)
	}
	return startContainerd(t, from, map[string]string{"docker.io": hosts})
}

// mirrorHost returns the lines of a hosts.toml for a mirror at host:port, or below a
// path.
func mirrorHost(mirror string) string {
	return `[host."http://` + mirror + "\"]\n" + `capabilities = ["pull", "resolve"]` + "\n"
}

// startContainerd starts one with the hosts.toml of each registry, or of _default.
func startContainerd(t *testing.T, from release, hosts map[string]string) *containerd {
	t.Helper()
	h := from.home(t, "containerd", "ctr")
	socket := h.path("containerd.sock")
	c := &containerd{tool: h.tool("ctr", "--address", socket), flags: []string{"--hosts-dir", h.path("certs.d")}}
	if from == newest { // containerd 2.x would fetch every platform's manifest
		c.flags = append(c.flags, "--skip-metadata")
	}
	for registry, toml := range hosts {
		h.write(t, "certs.d/"+registry+"/hosts.toml", toml)
	}
	config := h.write(t, "config.toml", `version = 2
root = "`+h.path("root")+`"
state = "`+h.path("state")+`"
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "`+socket+`"

[ttrpc]
address = "`+socket+`.ttrpc"

[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux/amd64"
snapshotter = "native"

[plugins."io.containerd.internal.v1.opt"]
path = "`+h.path("opt")+`"
`)
	h.start(t, "containerd", "--config", config).await(t, readyWithin, func() bool {
		_, err := c.run("version")
		return err == nil
	})
	from.ran(t, h.must(t, "containerd", "--version"))
	return c
}

func (c *containerd) pull(ref string) error {
	_, err := c.run(slices.Concat([]string{"images", "pull", "--snapshotter", "native"}, c.flags, []string{ref})...)
	return err
}

// content reads a blob in containerd's content store.
func (c *containerd) content(t *testing.T, digest string) string {
	t.Helper()
	out, err := c.run("content", "get", digest)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// id resolves the reference down to the configuration, and checks its digest.
func (c *containerd) id(t *testing.T, img image) string {
	t.Helper()
	target := ""
	for line := range strings.Lines(c.must(t, "images", "ls", "name=="+img.ref)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == img.ref {
			target = fields[2]
		}
	}
	index, err := v1.ParseIndexManifest(strings.NewReader(c.content(t, target)))
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range index.Manifests { // none in the manifest of an image
		if child.Platform.Architecture == "amd64" {
			target = child.Digest.String()
		}
	}
	manifest, err := v1.ParseManifest(strings.NewReader(c.content(t, target)))
	if err != nil {
		t.Fatal(err)
	}
	return digest.FromString(c.content(t, manifest.Config.Digest.String())).String()
}

// file reads the snapshot of the top layer on disk.
func (c *containerd) file(t *testing.T, img image) []byte {
	t.Helper()
	config, err := v1.ParseConfigFile(strings.NewReader(c.content(t, img.id)))
	if err != nil {
		t.Fatal(err)
	}
	var layers []digest.Digest
	for _, diff := range config.RootFS.DiffIDs {
		layers = append(layers, digest.Digest(diff.String()))
	}
	// Not view: a snapshot of prepare is a root for the garbage collector.
	const key = "look"
	c.must(t, "snapshots", "--snapshotter", "native", "prepare", key, identity.ChainID(layers).String())
	mount := strings.Fields(c.must(t, "snapshots", "--snapshotter", "native", "mounts", "/target", key))
	if len(mount) < 4 { // mount -t bind SOURCE /target -o …
		t.Fatalf("ctr would mount the snapshot by %q", mount)
	}
	content, err := os.ReadFile(path.Join(mount[3], img.file))
	if err != nil {
		t.Fatal(err)
	}
	c.must(t, "snapshots", "--snapshotter", "native", "rm", key)
	return content
}

func (c *containerd) remove(t *testing.T, ref string) {
	t.Helper()
	c.must(t, "images", "rm", "--sync", ref)
}
