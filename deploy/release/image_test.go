package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Both archives of the image are the same bytes each time.
func TestImageIsReproducible(t *testing.T) {
	r := newRelease(t)
	files := []string{r.file("-oci.tar"), r.file("-linux-amd64-docker.tar")}
	var first [][]byte
	for range 2 {
		if err := r.image(); err != nil {
			t.Fatal(err)
		}
		var now [][]byte
		for _, file := range files {
			now = append(now, read(t, file))
		}
		if first == nil {
			first = now
		}
		for i := range files {
			if !bytes.Equal(first[i], now[i]) {
				t.Errorf("%s has changed", files[i])
			}
		}
	}
}

// The image is the binary, and what it needs to run without root and write only to its
// cache.
func TestImage(t *testing.T) {
	r := newRelease(t)
	if err := r.image(); err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(r.file("-linux-amd64-docker.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c := config.Config; c.User != "65532:65532" || c.Labels["org.opencontainers.image.version"] != r.version || !config.Created.Equal(r.time) {
		t.Errorf("the image is %+v, of %v", c, config.Created)
	}
	headers := make(map[string]*tar.Header)
	layers := mutate.Extract(image)
	defer layers.Close()
	for archive := tar.NewReader(layers); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		headers[header.Name] = header
		if owned := header.Name == cacheDir; owned != (header.Uid == imageUser) || !header.ModTime.Equal(r.time) {
			t.Errorf("%s is of %d and %v", header.Name, header.Uid, header.ModTime)
		}
	}
	for _, name := range []string{"mirrord", cacheDir, "etc/ssl/certs/ca-certificates.crt", "etc/passwd"} {
		if headers[name] == nil {
			t.Errorf("the image has no %s, only %v", name, slices.Sorted(maps.Keys(headers)))
		}
	}
	if pool := x509.NewCertPool(); !pool.AppendCertsFromPEM([]byte(certificates())) {
		t.Error("the image has no certificates")
	}
}
