package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// client gives up on what hangs.
var client = &http.Client{Timeout: 30 * time.Second}

// errWrong says that an answer was complete, and not what was asked for.
var errWrong = errors.New("wrong answer")

// puller pulls one image.
type puller struct {
	base    string // of the repository: http://HOST/v2/NAME
	answers []pulled
}

// pulled is one answer, which was complete and right.
type pulled struct {
	what   string // blobs/DIGEST, for one
	digest oci.Digest
	via    string
}

// pull fetches what a tag or a digest names, of an index the first image, and
// checks every byte.
func (p *puller) pull(reference string) error {
	var content struct {
		ocispec.Index
		Config ocispec.Descriptor
		Layers []ocispec.Descriptor
	}
	var raw bytes.Buffer
	if err := p.get("manifests/"+reference, &raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw.Bytes(), &content); err != nil {
		return err
	}
	if len(content.Manifests) > 0 {
		return p.pull(content.Manifests[0].Digest.String())
	}
	for _, d := range append(content.Layers, content.Config) {
		if err := p.get("blobs/"+d.Digest.String(), io.Discard); err != nil {
			return err
		}
	}
	return nil
}

// get fetches something of the repository whole. It must hash to the digest that
// it was asked for by or, for a tag, to the one that the answer names.
func (p *puller) get(what string, to io.Writer) error {
	req, err := http.NewRequest(http.MethodGet, p.base+"/"+what, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageIndex+", "+ocispec.MediaTypeImageManifest)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	digester := digest.Canonical.Digester()
	if _, err := io.Copy(io.MultiWriter(to, digester.Hash()), resp.Body); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	want := oci.Digest(resp.Header.Get("Docker-Content-Digest"))
	if d, err := oci.ParseDigest(path.Base(what)); err == nil {
		want = d
	}
	if got := digester.Digest(); resp.StatusCode != http.StatusOK || got != want {
		return fmt.Errorf("%w: %s: %s, digest %s", errWrong, what, resp.Status, got)
	}
	p.answers = append(p.answers, pulled{what, want, resp.Header.Get("X-Mirrord-Cache")})
	return nil
}
