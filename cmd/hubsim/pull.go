package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
)

// accepted is the Accept header for manifests.
const accepted = "application/vnd.oci.image.index.v1+json, " +
	"application/vnd.docker.distribution.manifest.list.v2+json, " +
	"application/vnd.oci.image.manifest.v1+json, " +
	"application/vnd.docker.distribution.manifest.v2+json"

const maxManifest = 4 << 20

// puller pulls an image by plain HTTP, as a container engine does.
type puller struct {
	http  http.Client
	url   string // of the registry
	repo  string
	bytes int64          // read
	via   map[string]int // responses by their X-Mirrord-Cache
}

// pull pulls the image of tag for linux/amd64, and verifies every digest.
func (p *puller) pull(ctx context.Context, tag string) error {
	var index imgspec.Index
	if err := p.manifest(ctx, tag, "", &index); err != nil {
		return err
	}
	child, err := choose(index)
	if err != nil {
		return err
	}
	var image imgspec.Manifest
	if err := p.manifest(ctx, child.Digest.String(), child.Digest, &image); err != nil {
		return err
	}
	for _, blob := range append([]imgspec.Descriptor{image.Config}, image.Layers...) {
		if err := p.blob(ctx, blob); err != nil {
			return err
		}
	}
	return nil
}

func choose(index imgspec.Index) (imgspec.Descriptor, error) {
	for _, m := range index.Manifests {
		if m.Platform != nil && m.Platform.OS == "linux" && m.Platform.Architecture == "amd64" {
			return m, nil
		}
	}
	return imgspec.Descriptor{}, errors.New("the index has no image for linux/amd64")
}

// manifest reads a manifest into out. It verifies the digest want or, when that is
// empty, the one in the header of the response.
func (p *puller) manifest(ctx context.Context, reference string, want digest.Digest, out any) error {
	resp, err := p.get(ctx, "manifests/"+reference)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest))
	if err != nil {
		return fmt.Errorf("read manifest %s: %w", reference, err)
	}
	if want == "" {
		want = digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	}
	if got := digest.FromBytes(raw); got != want {
		return fmt.Errorf("manifest %s is %s, not %s", reference, got, want)
	}
	p.bytes += int64(len(raw))
	return json.Unmarshal(raw, out)
}

func (p *puller) blob(ctx context.Context, want imgspec.Descriptor) error {
	resp, err := p.get(ctx, "blobs/"+want.Digest.String())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	verifier := want.Digest.Verifier()
	n, err := io.Copy(verifier, resp.Body)
	if err != nil {
		return fmt.Errorf("read blob %s: %w", want.Digest, err)
	}
	if n != want.Size || !verifier.Verified() {
		return fmt.Errorf("blob %s: got %d bytes that do not match its digest", want.Digest, n)
	}
	p.bytes += n
	return nil
}

func (p *puller) get(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/v2/"+p.repo+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(path, "manifests/") {
		r.Header.Set("Accept", accepted)
	}
	resp, err := p.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return nil, fmt.Errorf("GET %s: %s: %s", r.URL, resp.Status, body)
	}
	p.via[resp.Header.Get("X-Mirrord-Cache")]++
	return resp, nil
}
