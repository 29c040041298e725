package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// manifest is one in memory. Hot ones are, and those that the disk does not take:
// each would cost a pull for each request.
type manifest struct {
	typed
	raw []byte
}

// itemBytes is what an item in memory takes beside its content: its key, its
// places in a map and a list, and headers.
const itemBytes = 512

// typed is the media type of a manifest. Where the bytes do not say it, it is
// valid for the upstream and repository that sent it, and for no other.
type typed struct {
	mediaType string // empty: never fetched as a manifest
	origin    string // who sent it; empty: the bytes say it, or an older mirrord did not record it
}

func originOf(ref oci.Ref) string { return ref.Upstream() + " " + ref.Repository() }

// typeOf returns the media type of raw, which came for ref as told.
func typeOf(ref oci.Ref, raw []byte, told string) typed {
	if own, err := oci.ManifestType(raw); err == nil && own != "" {
		return typed{mediaType: own}
	}
	return typed{told, originOf(ref)}
}

// foundType returns the media type of a file that nobody has fetched as a manifest,
// if it is one and says which. An image's config has the members of a manifest too,
// but no schemaVersion.
func foundType(raw []byte) typed {
	var m struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	if json.Unmarshal(raw, &m) != nil || m.SchemaVersion != 2 {
		return typed{}
	}
	own, err := oci.ManifestType(raw)
	if err != nil {
		return typed{}
	}
	return typed{mediaType: own}
}

// appliesTo reports whether the media type is known, and is that of ref too.
func (t typed) appliesTo(ref oci.Ref) bool {
	return t.mediaType != "" && (t.origin == "" || t.origin == originOf(ref))
}

// errOtherType says that a flight has fetched a manifest whose media type is
// known for another repository only.
var errOtherType = errors.New("its media type is known for another repository only")

// serves reports whether what f has fetched answers a request for ref.
func (f *flight) serves(ref oci.Ref) bool { return f.manifest == nil || f.manifest.appliesTo(ref) }

// hotManifest returns what memory has of ref, if that is a manifest. The caller
// holds mu.
func (c *Cache) hotManifest(ref oci.Ref) (manifest, bool) {
	if ref.Kind() != oci.Manifest {
		return manifest{}, false
	}
	m, hot := c.manifests.Get(ref.Digest().String())
	return m, hot && m.appliesTo(ref)
}

// addManifest keeps m in memory. The caller holds mu.
func (c *Cache) addManifest(d oci.Digest, m manifest) {
	c.manifests.Add(d.String(), m, int64(len(m.raw)+len(m.mediaType)+len(m.origin))+itemBytes)
}

// has reports whether a request for ref can be answered from memory or disk. The
// caller holds mu.
func (c *Cache) has(ref oci.Ref) bool {
	_, have := c.cached(ref)
	return have
}

func (m manifest) answer(d oci.Digest, via oci.Via) oci.Result {
	return oci.Result{Descriptor: oci.Descriptor{MediaType: m.mediaType, Digest: d, Size: int64(len(m.raw))}, Via: via}
}

// readManifest reads what f is for whole: it is small, and who waits for it is
// answered from memory, whatever the disk does.
func (c *Cache) readManifest(f *flight, source *oci.Content) (*oci.Content, error) {
	defer func() { _ = source.Close() }()
	raw, err := io.ReadAll(source.Body)
	if err != nil {
		return nil, err
	}
	f.manifest = &manifest{typeOf(f.ref, raw, source.MediaType), raw}
	c.mu.Lock()
	c.addManifest(f.ref.Digest(), *f.manifest) // a disk may be long about it: a tag has its copy at once
	c.mu.Unlock()
	return inMemory(f.manifest.answer(f.ref.Digest(), source.Via), raw), nil
}

// storeManifests stores what the disk did not take before, unless it still fails.
func (c *Cache) storeManifests() {
	if c.health.Failing(health.Disk) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ref := range c.unstored {
		m, hot := c.hotManifest(ref)
		if !hot {
			delete(c.unstored, ref)
		} else if c.flights[keyOf(ref)] == nil && !c.runner.Stopped() {
			f := c.newFlight(ref, func() {})
			f.manifest = &m
			c.takeOff(f)
		}
	}
}

// remember reads a manifest into memory, where the next request finds it.
func (c *Cache) remember(content *oci.Content, ref oci.Ref, e *entry) (*oci.Content, error) {
	defer func() { _ = content.Close() }()
	raw, err := io.ReadAll(content.Body)
	if err != nil {
		c.dropDamaged(e, fmt.Errorf("%w: %w", errUnreadable, err))
		return nil, errNotCached
	}
	if content.Digest.Algorithm().FromBytes(raw) != content.Digest {
		c.dropDamaged(e, errRotten)
		return nil, errNotCached
	}
	t := typeOf(ref, raw, content.MediaType)
	config := configOf(raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.countSaved(ref)
	if t.origin != "" {
		t = e.typed
	} else if e.typed != t { // a mirrord that asked nobody has believed something else
		e.typed = t
		c.dirty[e.digest] = struct{}{}
	}
	if c.entries[content.Digest] == e {
		c.noteConfig(e, config)
		c.addManifest(content.Digest, manifest{t, raw})
	}
	content.MediaType = t.mediaType
	return inMemory(content.Result, raw), nil
}

type memoryBody struct{ bytes.Reader }

func (*memoryBody) Close() error { return nil }

func inMemory(answer oci.Result, raw []byte) *oci.Content {
	body := new(memoryBody)
	body.Reset(raw)
	return &oci.Content{Result: answer, Body: body}
}
