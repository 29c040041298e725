package cache

import (
	"bytes"
	"fmt"
	"io"

	"mirrord/internal/oci"
)

// manifest is one in memory. Hot ones are, and those that the disk does not take:
// each would cost a pull for each request.
type manifest struct {
	mediaType string
	raw       []byte
}

// hotManifest returns what memory has of d. The caller holds mu.
func (c *Cache) hotManifest(d oci.Digest) (manifest, bool) { return c.manifests.Get(d.String()) }

// addManifest keeps m in memory. The caller holds mu.
func (c *Cache) addManifest(d oci.Digest, m manifest) {
	c.manifests.Add(d.String(), m, int64(len(m.raw)))
}

// has reports whether a request for d of that kind can be answered from memory or
// disk. The caller holds mu.
func (c *Cache) has(d oci.Digest, kind oci.Kind) bool {
	if c.entries[d].serves(kind) {
		return true
	}
	if kind != oci.Manifest {
		return false
	}
	_, hot := c.hotManifest(d)
	return hot
}

func (m manifest) answer(d oci.Digest, via oci.Via) oci.Answer {
	return oci.Answer{Descriptor: oci.Descriptor{MediaType: m.mediaType, Digest: d, Size: int64(len(m.raw))}, Via: via}
}

// readManifest reads what f is for whole: it is small, and who waits for it is
// answered from memory, whatever the disk does.
func (f *flight) readManifest(source *oci.Content) (*oci.Content, error) {
	defer func() { _ = source.Close() }()
	raw, err := io.ReadAll(source.Body)
	if err != nil {
		return nil, err
	}
	f.manifest = &manifest{source.MediaType, raw}
	return inMemory(f.manifest.answer(f.ref.Digest(), source.Via), raw), nil
}

// keepManifests tries again to put on the disk what it did not take.
func (c *Cache) keepManifests() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ref := range c.unkept {
		m, hot := c.hotManifest(ref.Digest())
		if !hot {
			delete(c.unkept, ref)
		} else if c.flights[keyOf(ref)] == nil {
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
		return nil, fmt.Errorf("read manifest %s: %w", content.Digest, err)
	}
	if content.Digest.Algorithm().FromBytes(raw) != content.Digest {
		c.dropDamaged(e, errRotten)
		return nil, errAbsent
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.countSaved(ref)
	if c.entries[content.Digest] != nil {
		c.addManifest(content.Digest, manifest{content.MediaType, raw})
	}
	return inMemory(content.Answer, raw), nil
}

type memoryBody struct{ bytes.Reader }

func (*memoryBody) Close() error { return nil }

func inMemory(answer oci.Answer, raw []byte) *oci.Content {
	body := new(memoryBody)
	body.Reset(raw)
	return &oci.Content{Answer: answer, Body: body}
}
