package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"mirrord/internal/cache/lru"
	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// manifest is one in memory.
type manifest struct {
	typed
	raw []byte
}

func (m manifest) result(d oci.Digest, via oci.Via) oci.Result {
	return oci.Result{Descriptor: oci.Descriptor{MediaType: m.mediaType, Digest: d, Size: int64(len(m.raw))}, Via: via}
}

// typed is the media type of a manifest. Where the bytes do not say it, it is valid
// for the upstream and repository that sent it, and for no other.
type typed struct {
	mediaType string // empty: never fetched as a manifest
	origin    string // which repository sent it; empty: the bytes say it, or an older mirrord did not record it
}

func originOf(ref oci.Ref) string { return ref.Upstream() + " " + ref.Repository() }

// typeOf returns the media type of raw, which came for ref with mediaType as its
// Content-Type.
func typeOf(ref oci.Ref, raw []byte, mediaType string) typed {
	if own, err := oci.ManifestType(raw); err == nil && own != "" {
		return typed{mediaType: own}
	}
	return typed{mediaType, originOf(ref)}
}

// foundType returns the media type of a file that was never fetched as a manifest,
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

// errOtherType says that a flight has fetched a manifest whose media type is known
// for another repository only.
var errOtherType = errors.New("its media type is known for another repository only")

const manifestMemory = 64 << 20 // bytes of manifests in memory

// hotManifests are the manifests in memory: those that were used last, and those
// that could not be stored, each of which would cost a pull for each request.
// Guarded by Cache.mu.
type hotManifests struct {
	memory   *lru.Bytes[manifest] // by digest
	unstored map[oci.Ref]struct{}
}

func newHotManifests() *hotManifests {
	return &hotManifests{lru.NewBytes[manifest](manifestMemory), make(map[oci.Ref]struct{})}
}

// get returns what memory has of ref, if that is a manifest.
func (h *hotManifests) get(ref oci.Ref) (manifest, bool) {
	if ref.Kind() != oci.Manifest {
		return manifest{}, false
	}
	m, hot := h.memory.Get(ref.Digest().String())
	return m, hot && m.appliesTo(ref)
}

func (h *hotManifests) add(d oci.Digest, m manifest) {
	h.memory.Add(d.String(), m, int64(len(m.raw)+len(m.mediaType)+len(m.origin))+lru.ItemOverhead)
}

func (h *hotManifests) remove(d oci.Digest) { h.memory.Remove(d.String()) }

// noteStored notes whether ref is on the disk.
func (h *hotManifests) noteStored(ref oci.Ref, stored bool) {
	if stored {
		delete(h.unstored, ref)
	} else {
		h.unstored[ref] = struct{}{}
	}
}

// readManifest reads the source of a manifest whole: it is small, and its waiters
// are served from memory, whatever the disk does.
func (l *fill) readManifest(source *oci.Content) (*oci.Content, error) {
	defer func() { _ = source.Close() }()
	raw, err := io.ReadAll(source.Body)
	if err != nil {
		return nil, err
	}
	c, f := l.cache, l.flight
	f.manifest = &manifest{typeOf(f.ref, raw, source.MediaType), raw}
	c.mu.Lock()
	c.hot.add(f.ref.Digest(), *f.manifest) // at once: storing it may take long, and a tag has a stale copy to serve
	c.mu.Unlock()
	return inMemory(f.manifest.result(f.ref.Digest(), source.Via), raw), nil
}

// storeManifests stores what the disk did not take before, unless it still fails.
func (c *Cache) storeManifests() {
	if c.health.Failing(health.Disk) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ref := range c.hot.unstored {
		if m, hot := c.hot.get(ref); hot {
			c.storeManifest(ref, m)
		} else {
			delete(c.hot.unstored, ref)
		}
	}
}

// storeManifest starts a flight that stores m, unless there is one. The caller holds
// mu.
func (c *Cache) storeManifest(ref oci.Ref, m manifest) {
	if c.flights.of(ref) != nil || c.runner.Stopped() {
		return
	}
	f := c.newFlight(c.runner.Context(), ref, func() {})
	f.manifest = &m
	c.start(f)
}

// openManifest reads the manifest of e, which content is, into memory, where the
// next request finds it. It is hashed: a damaged one is dropped.
func (c *Cache) openManifest(ctx context.Context, content *oci.Content, ref oci.Ref, e *entry) (*oci.Content, error) {
	defer func() { _ = content.Close() }()
	raw, err := io.ReadAll(content.Body)
	if err != nil {
		c.evictor.dropDamaged(e, fmt.Errorf("%w: %w", errUnreadable, err))
		return nil, errNotCached
	}
	if content.Digest.Algorithm().FromBytes(raw) != content.Digest {
		c.evictor.dropDamaged(e, errCorrupt)
		return nil, errNotCached
	}
	t := typeOf(ref, raw, content.MediaType)
	config := configOf(raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.countSaved(ctx, ref)
	if t.origin != "" {
		t = e.typed
	} else if e.typed != t { // an older mirrord believed the Content-Type
		e.typed = t
		c.blobs.dirty[e.digest] = struct{}{}
	}
	if c.blobs.get(content.Digest) == e {
		c.blobs.noteConfig(e, config)
		c.hot.add(content.Digest, manifest{t, raw})
	}
	content.MediaType = t.mediaType
	return inMemory(content.Result, raw), nil
}

type memoryBody struct{ bytes.Reader }

func (*memoryBody) Close() error { return nil }

func inMemory(result oci.Result, raw []byte) *oci.Content {
	body := new(memoryBody)
	body.Reset(raw)
	return &oci.Content{Result: result, Body: body}
}
