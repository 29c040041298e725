package cache

import (
	"time"

	"mirrord/internal/oci"
)

// entry is one cached blob.
type entry struct {
	digest oci.Digest
	typed
	size     int64
	used     time.Time
	verified time.Time // when its bytes were last hashed; zero: never, the file was found
	readers  int       // it is not evicted while there are any

	config   oci.Digest // that it names, if it is a manifest that has been read
	metadata bool       // it is ordered among manifests and configs
	pinned   bool       // it is ordered among none, as it is not evicted
	failing  bool       // the disk has not given it: as good as absent until the disk recovers
}

func newEntry(r BlobRecord) *entry {
	return &entry{digest: r.Digest, typed: typed{r.MediaType, r.Origin}, size: r.Size, used: r.Used, verified: r.Verified}
}

func (e *entry) record() BlobRecord {
	return BlobRecord{
		Descriptor: oci.Descriptor{Digest: e.digest, MediaType: e.mediaType, Size: e.size},
		Origin:     e.origin,
		Used:       e.used,
		Verified:   e.verified,
	}
}

// isVerified reports whether the file has ever been hashed.
func (e *entry) isVerified() bool { return !e.verified.IsZero() }

// serves reports whether e, which may be nil, can answer a request for ref: a
// manifest's media type is known only when it was fetched as a manifest.
func (e *entry) serves(ref oci.Ref) bool {
	return e != nil && e.isVerified() && !e.failing && (ref.Kind() != oci.Manifest || e.appliesTo(ref))
}

func (e *entry) result(ref oci.Ref, via oci.Via) oci.Result {
	r := oci.Result{Descriptor: oci.Descriptor{Digest: ref.Digest(), Size: e.size}, Via: via}
	if ref.Kind() == oci.Manifest {
		r.MediaType = e.mediaType
	}
	return r
}
