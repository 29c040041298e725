package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// asker is a client of a mirror whose upstream is in trouble: what it is refused
// or what is cut short is no mistake, but a wrong answer is. It may be used
// concurrently.
type asker struct {
	catalog *catalog // what the answers are held against
	http    http.Client
	base    string       // of the mirror: http://HOST/v2/
	told    func(answer) // is called at the end of each request
}

// answer is what one request came to.
type answer struct {
	via   string
	bytes int64
	err   error // errWrong, errHung, or why it was refused or cut short
}

var errHung = errors.New("no end of the answer in two minutes")

func newAsker(c *catalog, m *process, told func(answer)) *asker {
	return &asker{
		catalog: c,
		http:    http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}},
		base:    "http://" + m.mirror + "/v2/",
		told:    told,
	}
}

// ask sends one request; read takes the body of an answer that is no refusal.
func (a *asker) ask(ctx context.Context, method, path, byteRange string, read func(*http.Response) (int64, error)) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errHung)
	defer cancel()
	var got answer
	defer func() {
		if err != nil && context.Cause(ctx) == errHung {
			err = errHung
		}
		if err != nil {
			err = fmt.Errorf("%s %s: %w", method, path, err)
		}
		got.err = err
		a.told(got)
	}()
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, nil)
	if err != nil {
		return err
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	got.via = resp.Header.Get("X-Mirrord-Cache")
	if resp.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	got.bytes, err = read(resp)
	return err
}

// get reads an answer to its end. It has to hash to one of want, which is
// returned.
func (a *asker) get(ctx context.Context, path string, want ...string) (got string, err error) {
	err = a.ask(ctx, http.MethodGet, path, "", func(resp *http.Response) (int64, error) {
		digester := digest.Canonical.Digester()
		n, err := io.Copy(digester.Hash(), resp.Body)
		if err != nil {
			return n, err
		}
		if got = digester.Digest().String(); !slices.Contains(want, got) {
			return n, fmt.Errorf("%w: %s", errWrong, got)
		}
		return n, nil
	})
	return got, err
}

// pull fetches what a tag or digest names, which is one of versions, and then
// what that consists of.
func (a *asker) pull(ctx context.Context, repo, reference string, versions ...string) error {
	got, err := a.get(ctx, repo+"/manifests/"+reference, versions...)
	if err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(a.catalog.blobs[oci.Digest(got)].bytes, &manifest); err != nil {
		return err
	}
	for _, d := range append(manifest.Layers, manifest.Config) {
		if _, err := a.get(ctx, repo+"/blobs/"+d.Digest.String(), d.Digest.String()); err != nil {
			return err
		}
	}
	return nil
}
