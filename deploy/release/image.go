package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	imageUser = 65532 // as in other images without root
	cacheDir  = "var/cache/mirrord"
)

// image writes an OCI layout with an image for all platforms, as an archive, and for
// each platform an archive of the older form that every Docker loads.
func (r *release) image() error {
	tag, err := name.NewTag("mirrord:" + strings.ReplaceAll(r.version, "+", "_"))
	if err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range r.platforms {
		image, err := r.imageFor(p)
		if err != nil {
			return err
		}
		if err := tarball.WriteToFile(r.file("-"+p.String()+"-docker.tar"), tag, image); err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: p.os(), Architecture: p.arch()},
		}})
	}
	return r.writeLayout(mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index, Descriptor: v1.Descriptor{
		Annotations: map[string]string{
			"org.opencontainers.image.ref.name": tag.TagStr(),
			"io.containerd.image.name":          "docker.io/library/mirrord:" + tag.TagStr(), // for containerd, and Docker with its store
		},
	}}))
}

// writeLayout writes index as an archive of an OCI layout.
func (r *release) writeLayout(index v1.ImageIndex) error {
	dir, err := os.MkdirTemp("", "mirrord-image-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := layout.Write(dir, index); err != nil {
		return err
	}
	var entries []entry
	for _, pattern := range []string{"*", "blobs/*/*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, file := range found {
			name, err := filepath.Rel(dir, file)
			if err != nil {
				return err
			}
			if name != "blobs" {
				entries = append(entries, entry{path: filepath.ToSlash(name), source: file, mode: 0o644})
			}
		}
	}
	return create(r.file("-oci.tar"), func(file *os.File) error { return r.writeTar(file, sorted(entries)) })
}

// imageFor returns the image for p: one layer that rarely changes, and the binary.
func (r *release) imageFor(p platform) (v1.Image, error) {
	base, err := r.layer(baseFiles())
	if err != nil {
		return nil, err
	}
	binary, err := r.layer([]entry{{path: "mirrord", source: r.binary(p), mode: 0o755}})
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: r.time}
	image, err = mutate.Append(image,
		mutate.Addendum{Layer: base, History: v1.History{Created: created, CreatedBy: "certificates, user, cache and configuration"}},
		mutate.Addendum{Layer: binary, History: v1.History{Created: created, CreatedBy: "mirrord " + r.version}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created, config.Config = p.os(), p.arch(), created, r.imageConfig()
	return mutate.ConfigFile(image, config)
}

// imageConfig says how the image is run.
func (r *release) imageConfig() v1.Config {
	return v1.Config{
		User:         "65532:65532", // by number, so that Kubernetes can tell that it is not root
		Entrypoint:   []string{"/mirrord"},
		Cmd:          []string{"serve"},
		Env:          []string{"CONFIGURATION_DIRECTORY=/etc/mirrord", "CACHE_DIRECTORY=/" + cacheDir},
		WorkingDir:   "/",
		Healthcheck:  &v1.HealthConfig{Test: []string{"CMD", "/mirrord", "ready"}, Interval: 30 * time.Second, Timeout: 5 * time.Second, Retries: 3},
		ExposedPorts: map[string]struct{}{"5000/tcp": {}},
		Volumes:      map[string]struct{}{"/" + cacheDir: {}},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "mirrord",
			"org.opencontainers.image.description": "Pull-through mirror for container registries",
			"org.opencontainers.image.version":     r.version,
			"org.opencontainers.image.revision":    r.commit,
			"org.opencontainers.image.created":     r.time.Format("2006-01-02T15:04:05Z"),
		},
	}
}

// imageConfiguration is what a file that is mounted in its place replaces: a variable
// would override that, and open a port that its listeners do not mention.
const imageConfiguration = "# Replace this file, or set variables: see docs/configuration.md.\nlisten: 0.0.0.0:5000\n"

// baseFiles returns what the binary needs around it.
func baseFiles() []entry {
	return []entry{
		{path: "etc/group", text: "root:x:0:\nmirrord:x:65532:\n", mode: 0o644},
		{path: "etc/passwd", text: "root:x:0:0:root:/:/sbin/nologin\nmirrord:x:65532:65532:mirrord:/" + cacheDir + ":/sbin/nologin\n", mode: 0o644},
		{path: "etc/mirrord/mirrord.yaml", text: imageConfiguration, mode: 0o644},
		{path: "etc/ssl/certs/ca-certificates.crt", text: certificates(), mode: 0o644},
		{path: cacheDir, mode: os.ModeDir | 0o750},
	}
}

// certificates returns the roots that Mozilla trusts, without those whose trust depends
// on what a file cannot say, such as the date of a certificate. They are those of a Go
// module, not of this machine, so that they are the same wherever the image is built.
func certificates() string {
	var b strings.Builder
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return b.String()
}

// layer returns a layer of entries and the directories above them.
func (r *release) layer(entries []entry) (v1.Layer, error) {
	var b bytes.Buffer
	archive := tar.NewWriter(&b)
	for _, e := range withParents(entries) {
		content, err := e.content()
		if err != nil {
			return nil, err
		}
		header := &tar.Header{Name: e.path, Typeflag: tar.TypeReg, Mode: int64(e.mode.Perm()), Size: int64(len(content)), ModTime: r.time, Format: tar.FormatPAX}
		if e.mode.IsDir() {
			header.Typeflag, header.Name = tar.TypeDir, e.path+"/"
		}
		if e.path == cacheDir {
			header.Uid, header.Gid = imageUser, imageUser
		}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// withParents adds the directories above entries.
func withParents(entries []entry) []entry {
	all := slices.Clone(entries)
	for _, e := range entries {
		for dir := path.Dir(e.path); dir != "."; dir = path.Dir(dir) {
			if !slices.ContainsFunc(all, func(other entry) bool { return other.path == dir }) {
				all = append(all, entry{path: dir, mode: os.ModeDir | 0o755})
			}
		}
	}
	return sorted(all)
}
