// Package ocitest provides a fake Registry for tests, and the contract suite that
// every Registry passes.
package ocitest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// Fake is a Registry in memory with injectable faults and call counters. It
// ignores the upstream of a reference. The zero value is empty and ready to use;
// methods may be called concurrently.
type Fake struct {
	mu     sync.Mutex
	repos  map[string]*repository
	fault  func(Call) error
	wrap   func(oci.Ref, io.ReadSeeker) io.Reader
	claim  func(oci.Descriptor) oci.Descriptor
	noSize bool
	calls  map[Call]int
}

// Call identifies calls of a Fake's method for the counters and faults.
type Call struct {
	Method    string // Resolve, Open or List
	Reference string
}

type repository struct {
	blobs     map[oci.Digest][]byte
	manifests map[oci.Digest]manifest
	tags      map[string]oci.Digest
}

type manifest struct {
	mediaType string
	raw       []byte
}

// AddBlob adds a blob and returns its digest.
func (f *Fake) AddBlob(repo string, content []byte) oci.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := oci.FromBytes(content)
	f.repo(repo).blobs[d] = content
	return d
}

// AddManifest adds a manifest, tagged unless tag is empty, and returns its digest.
func (f *Fake) AddManifest(repo, tag, mediaType string, raw []byte) oci.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := oci.FromBytes(raw)
	r := f.repo(repo)
	r.manifests[d] = manifest{mediaType, raw}
	if tag != "" {
		r.tags[tag] = d
	}
	return d
}

// RemoveTag removes a tag; the manifest stays.
func (f *Fake) RemoveTag(repo, tag string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.repo(repo).tags, tag)
}

// Fail makes calls fail for which fault returns an error; nil removes the fault.
func (f *Fake) Fail(fault func(Call) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Wrap replaces each body with what wrap returns; nil removes it. A body is only a
// Seeker if what wrap returns is one.
func (f *Fake) Wrap(wrap func(oci.Ref, io.ReadSeeker) io.Reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrap = wrap
}

// Claim makes Resolve return descriptors that claim has changed; nil removes it.
func (f *Fake) Claim(claim func(oci.Descriptor) oci.Descriptor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.claim = claim
}

// HideSize makes Open return content of oci.UnknownSize.
func (f *Fake) HideSize() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noSize = true
}

// Calls returns how often method was called for reference.
func (f *Fake) Calls(method, reference string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[Call{method, reference}]
}

// repo returns a repository to write to, new if need be. The caller holds mu.
func (f *Fake) repo(name string) *repository {
	if f.repos == nil {
		f.repos = make(map[string]*repository)
	}
	if f.repos[name] == nil {
		f.repos[name] = &repository{
			blobs:     make(map[oci.Digest][]byte),
			manifests: make(map[oci.Digest]manifest),
			tags:      make(map[string]oci.Digest),
		}
	}
	return f.repos[name]
}

// begin counts a call and returns its fault.
func (f *Fake) begin(method, reference string) error {
	f.mu.Lock()
	if f.calls == nil {
		f.calls = make(map[Call]int)
	}
	c := Call{method, reference}
	f.calls[c]++
	fault := f.fault
	f.mu.Unlock()
	if fault != nil {
		return fault(c)
	}
	return nil
}

func (f *Fake) find(ref oci.Ref) (oci.Descriptor, []byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.repos[ref.Repository()]
	if r == nil {
		return oci.Descriptor{}, nil, oci.Errorf(oci.NameUnknown, "no repository %s", ref.Repository())
	}
	d := ref.Digest()
	if ref.Kind() == oci.Blob {
		content, ok := r.blobs[d]
		if !ok {
			return oci.Descriptor{}, nil, oci.Errorf(oci.BlobUnknown, "no blob %s", d)
		}
		return oci.Descriptor{Digest: d, Size: int64(len(content))}, content, nil
	}
	if !ref.ByDigest() {
		d = r.tags[ref.Tag()]
	}
	m, ok := r.manifests[d]
	if !ok {
		return oci.Descriptor{}, nil, oci.Errorf(oci.ManifestUnknown, "no manifest %s", ref)
	}
	return oci.Descriptor{MediaType: m.mediaType, Digest: d, Size: int64(len(m.raw))}, m.raw, nil
}

// Resolve implements oci.Registry.
func (f *Fake) Resolve(_ context.Context, ref oci.Ref) (oci.Result, error) {
	if err := f.begin("Resolve", ref.Reference()); err != nil {
		return oci.Result{}, err
	}
	d, _, err := f.find(ref)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.claim != nil && err == nil {
		d = f.claim(d)
	}
	return oci.Result{Descriptor: d, Via: oci.Pass}, err
}

// Open implements oci.Registry.
func (f *Fake) Open(_ context.Context, ref oci.Ref) (*oci.Content, error) {
	if err := f.begin("Open", ref.Reference()); err != nil {
		return nil, err
	}
	d, raw, err := f.find(ref)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var body io.Reader = bytes.NewReader(raw)
	if f.wrap != nil {
		body = f.wrap(ref, bytes.NewReader(raw))
	}
	if f.noSize {
		d.Size = oci.UnknownSize
	}
	return &oci.Content{Result: oci.Result{Descriptor: d, Via: oci.Pass}, Body: verify(body, d)}, nil
}

type plainBody struct{ io.Reader }

func (plainBody) Close() error { return nil }

type seekBody struct{ io.ReadSeeker }

func (seekBody) Close() error { return nil }

// verify gives a body the contract of Open.
func verify(body io.Reader, d oci.Descriptor) io.ReadCloser {
	if seeker, ok := body.(io.ReadSeeker); ok {
		return oci.Verify(seekBody{seeker}, d)
	}
	return oci.Verify(plainBody{body}, d)
}

// List implements oci.Registry. Tags are paged with n and last, as in the spec.
func (f *Fake) List(_ context.Context, q oci.Listing) (*oci.Page, error) {
	if err := f.begin("List", q.Repository()); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.repos[q.Repository()]
	if r == nil {
		return nil, oci.Errorf(oci.NameUnknown, "no repository %s", q.Repository())
	}
	if q.Kind() == oci.Referrers {
		return r.referrers(q.Subject())
	}
	return r.tagPage(q.Query())
}

func (r *repository) tagPage(query string) (*oci.Page, error) {
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return nil, oci.Errorf(oci.Unsupported, "query %q", query)
	}
	tags := slices.DeleteFunc(slices.Sorted(maps.Keys(r.tags)), func(tag string) bool { return tag <= parameters.Get("last") })
	page := &oci.Page{Tags: tags, Via: oci.Pass}
	if n, err := strconv.Atoi(parameters.Get("n")); err == nil && n < len(tags) {
		page.Tags = tags[:n]
		if n > 0 {
			page.Next = url.Values{"n": {strconv.Itoa(n)}, "last": {tags[n-1]}}.Encode()
		}
	}
	return page, nil
}

func (r *repository) referrers(subject oci.Digest) (*oci.Page, error) {
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	index.SchemaVersion = 2
	for d, m := range r.manifests {
		var has ocispec.Manifest
		if json.Unmarshal(m.raw, &has) == nil && has.Subject != nil && has.Subject.Digest == subject {
			index.Manifests = append(index.Manifests, ocispec.Descriptor{MediaType: m.mediaType, Digest: d, Size: int64(len(m.raw))})
		}
	}
	raw, err := json.Marshal(index)
	return &oci.Page{Index: raw, Via: oci.Pass}, err
}
