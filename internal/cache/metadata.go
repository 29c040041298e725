package cache

import (
	"encoding/json"

	"mirrord/internal/oci"
)

const (
	metadataParts = 100      // manifests and configs have this part of the cache for themselves,
	metadataBytes = 64 << 20 // at least this much,
	metadataMost  = 8        // and at most this part: of a small cache
)

// metadataShare returns how many bytes of manifests and configs are not evicted for
// other blobs: they are small, and fetching manifests is what costs quota.
func metadataShare(maxSize int64) int64 {
	return max(maxSize/metadataParts, min(metadataBytes, maxSize/metadataMost))
}

// isMetadata reports whether a blob of that size is a manifest, or the config that
// a cached manifest names. A larger one has no part in their share, whatever it is
// called.
func (b *blobs) isMetadata(d oci.Digest, manifest bool, size int64) bool {
	_, config := b.configs[d]
	return b.metadata != nil && (manifest || config) && size <= min(oci.MaxManifestSize, b.share/4)
}

// classify has e ordered among the metadata or the other blobs, unless it is pinned.
func (b *blobs) classify(e *entry) {
	e.metadata = false
	if e.pinned {
		return
	}
	e.metadata = b.isMetadata(e.digest, e.mediaType != "", e.size)
	if !e.metadata {
		b.policy.Add(e.digest, e.size)
		return
	}
	b.metadata.Add(e.digest, e.size)
	b.metadataUsed += e.size
}

// declassify undoes classify.
func (b *blobs) declassify(e *entry) {
	if e.pinned {
		return
	}
	if !e.metadata {
		b.policy.Remove(e.digest)
		return
	}
	b.metadata.Remove(e.digest)
	b.metadataUsed -= e.size
}

// reclassify classifies e again, of which more is known now.
func (b *blobs) reclassify(e *entry) {
	b.declassify(e)
	b.classify(e)
}

// policyOf returns what orders e.
func (b *blobs) policyOf(e *entry) Policy {
	if e.metadata {
		return b.metadata
	}
	return b.policy
}

// noteConfig notes that the cached manifest e names config. After a restart it is
// noted again when the manifest is read.
func (b *blobs) noteConfig(e *entry, config oci.Digest) {
	if config == "" {
		return
	}
	e.config = config
	b.configs[config] = struct{}{}
	if named := b.entries[config]; named != nil && !named.metadata {
		b.reclassify(named)
	}
}

// configOf returns the digest of the config that a manifest names, or an empty one:
// an index names none.
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
