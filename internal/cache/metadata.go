package cache

import (
	"encoding/json"

	"mirrord/internal/oci"
)

const (
	metadataParts = 100      // manifests and configs have that part of the cache for themselves,
	metadataBytes = 64 << 20 // at least that much,
	metadataMost  = 8        // and no more than that part: of a small cache
)

// metadataShare returns how many bytes of manifests and configs are not evicted
// for other blobs: they are small, and fetching manifests is what costs quota.
func (c *Cache) metadataShare() int64 {
	return max(c.opts.MaxSize/metadataParts, min(metadataBytes, c.opts.MaxSize/metadataMost))
}

// isMetadata reports whether a blob of that size is a manifest, or the config that
// a cached manifest names. A larger one takes no part of their share, whatever it
// is called. The caller holds mu.
func (c *Cache) isMetadata(d oci.Digest, manifest bool, size int64) bool {
	_, config := c.configs[d]
	return c.opts.Metadata != nil && (manifest || config) && size <= min(oci.MaxManifestSize, c.metadataShare()/4)
}

// classify counts e, which is kept from now on, among the metadata or the other
// blobs. The caller holds mu.
func (c *Cache) classify(e *entry) {
	e.metadata = c.isMetadata(e.digest, e.mediaType != "", e.size)
	if !e.metadata {
		c.opts.Policy.Add(e.digest, e.size)
		return
	}
	c.opts.Metadata.Add(e.digest, e.size)
	c.metadataUsed += e.size
}

// declassify undoes classify. The caller holds mu.
func (c *Cache) declassify(e *entry) {
	if !e.metadata {
		c.opts.Policy.Remove(e.digest)
		return
	}
	c.opts.Metadata.Remove(e.digest)
	c.metadataUsed -= e.size
}

// policyOf returns what orders e. The caller holds mu.
func (c *Cache) policyOf(e *entry) Policy {
	if e.metadata {
		return c.opts.Metadata
	}
	return c.opts.Policy
}

// noteConfig notes that the manifest e, which is kept, names config. After a
// restart it is noted again when the manifest is read. The caller holds mu.
func (c *Cache) noteConfig(e *entry, config oci.Digest) {
	if config == "" {
		return
	}
	e.config = config
	c.configs[config] = struct{}{}
	if named := c.entries[config]; named != nil && !named.metadata {
		c.reclassify(named)
	}
}

// reclassify counts e anew, of which more is known now. The caller holds mu.
func (c *Cache) reclassify(e *entry) {
	c.declassify(e)
	c.classify(e)
}

// configOf returns the digest of the config that a manifest names, or an empty
// one: an index names none.
func configOf(raw []byte) oci.Digest {
	var manifest struct {
		Config struct {
			Digest string `json:"digest"`
		} `json:"config"`
	}
	if json.Unmarshal(raw, &manifest) != nil {
		return ""
	}
	d, err := oci.ParseDigest(manifest.Config.Digest)
	if err != nil {
		return ""
	}
	return d
}
