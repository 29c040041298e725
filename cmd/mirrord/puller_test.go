package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// puller pulls one image and notes how each answer came.
type puller struct {
	base string
	vias []string
}

func (p *puller) pull(tag string) error {
	raw, err := p.get("manifests/"+tag, "")
	if err != nil {
		return err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return err
	}
	if len(index.Manifests) > 0 {
		child := index.Manifests[0].Digest
		if raw, err = p.get("manifests/"+child.String(), child); err != nil {
			return err
		}
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return err
	}
	for _, d := range append(manifest.Layers, manifest.Config) {
		if _, err := p.get("blobs/"+d.Digest.String(), d.Digest); err != nil {
			return err
		}
	}
	return nil
}

// get fetches path, checks the digest unless that is empty and notes the via.
func (p *puller) get(path string, want oci.Digest) ([]byte, error) {
	resp, err := http.Get(p.base + "/" + path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", path, resp.Status, raw)
	}
	if got := oci.FromBytes(raw); want != "" && got != want {
		return nil, fmt.Errorf("%s: digest %s", path, got)
	}
	p.vias = append(p.vias, resp.Header.Get("X-Mirrord-Cache"))
	return raw, nil
}
