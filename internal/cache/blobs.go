package cache

import (
	"maps"
	"time"

	"mirrord/internal/oci"
)

// blobs are the cached blobs, in memory. Guarded by Cache.mu.
type blobs struct {
	entries map[oci.Digest]*entry
	dirty   map[oci.Digest]struct{}      // entries whose recency the index does not know
	busy    map[oci.Digest]chan struct{} // whose file is being removed or put: closed when that is done
	failing []*entry                     // that the disk has not given since it fails
	pins    map[oci.Digest]struct{}      // that are not evicted, cached or not

	policy   Policy
	metadata Policy                  // of manifests and configs; nil: policy orders all
	share    int64                   // bytes of metadata that are not evicted for other blobs
	configs  map[oci.Digest]struct{} // that cached manifests name

	used         int64 // bytes of entries
	reading      int64 // those of them that are being read, and not pinned
	pinned       int64 // those of them that are pinned
	metadataUsed int64 // those of them that metadata orders
}

func newBlobs(o Options) *blobs {
	return &blobs{
		entries: make(map[oci.Digest]*entry), dirty: make(map[oci.Digest]struct{}),
		busy: make(map[oci.Digest]chan struct{}), configs: make(map[oci.Digest]struct{}),
		policy: o.Policy, metadata: o.Metadata, share: metadataShare(o.Limits.MaxSize),
	}
}

// get returns the entry of d, or nil.
func (b *blobs) get(d oci.Digest) *entry { return b.entries[d] }

// all returns a copy of the entries.
func (b *blobs) all() map[oci.Digest]*entry { return maps.Clone(b.entries) }

// add adds e as the most recently used, in the place of what its digest had. What
// was fetched as a manifest before stays one.
func (b *blobs) add(e *entry) {
	if old := b.entries[e.digest]; old != nil && e.mediaType == "" {
		e.typed, e.config = old.typed, old.config
	}
	b.forget(e.digest)
	b.entries[e.digest] = e
	b.include(e)
	b.noteConfig(e, e.config)
	b.used += e.size
}

// include counts e, and has it ordered unless it is pinned.
func (b *blobs) include(e *entry) {
	_, e.pinned = b.pins[e.digest]
	b.classify(e)
	switch {
	case e.pinned:
		b.pinned += e.size
	case e.readers > 0:
		b.reading += e.size
	}
}

// exclude undoes include.
func (b *blobs) exclude(e *entry) {
	b.declassify(e)
	switch {
	case e.pinned:
		b.pinned -= e.size
	case e.readers > 0:
		b.reading -= e.size
	}
}

// forget drops the entry of d, if there is one.
func (b *blobs) forget(d oci.Digest) {
	e := b.entries[d]
	if e == nil {
		return
	}
	delete(b.entries, d)
	delete(b.dirty, d)
	delete(b.configs, e.config)
	b.exclude(e)
	b.used -= e.size
}

// touch notes that e was used.
func (b *blobs) touch(e *entry) {
	e.used = time.Now()
	b.dirty[e.digest] = struct{}{}
	b.policyOf(e).Touch(e.digest)
}

// acquire counts one more reader of e, which may not be cached yet.
func (b *blobs) acquire(e *entry) {
	e.readers++
	if e.readers == 1 && !e.pinned && b.entries[e.digest] == e {
		b.reading += e.size
	}
}

// release counts one reader less.
func (b *blobs) release(e *entry) {
	e.readers--
	if e.readers == 0 && !e.pinned && b.entries[e.digest] == e {
		b.reading -= e.size
	}
}

// fail notes that the disk has not given e.
func (b *blobs) fail(e *entry) {
	e.failing = true
	b.failing = append(b.failing, e)
}

// recover believes again in what the disk has not given.
func (b *blobs) recover() {
	for _, e := range b.failing {
		e.failing = false
	}
	b.failing = nil
}

// evictable returns how many bytes could be evicted: of blobs that are not pinned or
// being read, and for metadata those of its share too.
func (b *blobs) evictable(metadata bool) int64 {
	n := b.used - b.reading - b.pinned
	if !metadata {
		n -= min(b.metadataUsed, b.share)
	}
	return n
}

// victim returns the blob to evict next: the least recently used one that is not
// being read. Within their share manifests and configs come last, and are not
// evicted for other blobs. It returns nil when there is none.
func (b *blobs) victim(metadata bool) *entry {
	blob, meta := b.oldest(b.policy), b.oldest(b.metadata)
	overShare := b.metadataUsed > b.share
	switch {
	case meta == nil:
		return blob
	case blob == nil && (overShare || metadata):
		return meta
	case blob != nil && overShare && meta.used.Before(blob.used):
		return meta
	}
	return blob
}

// oldest returns the least recently used entry of p, which may be nil, that is not
// being read, or nil.
func (b *blobs) oldest(p Policy) *entry {
	if p == nil {
		return nil
	}
	for range len(b.entries) { // those that are being read are tried once each
		d, ok := p.Victim()
		if !ok {
			return nil
		}
		if e := b.entries[d]; e.readers == 0 {
			return e
		}
		p.Touch(d)
	}
	return nil
}
