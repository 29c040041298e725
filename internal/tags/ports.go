package tags

import (
	"context"
	"iter"
	"time"

	"mirrord/internal/oci"
)

// Cache is the Registry below. It answers a ref by digest from what it has, and
// passes refs by tag and lists on to the upstream. The methods that take no
// context look in memory only; they are called with the lock of tags held and
// must not call back.
type Cache interface {
	oci.Registry

	// Cached describes ref, by digest, if memory or disk can serve it now.
	Cached(ref oci.Ref) (oci.Descriptor, bool)

	// Available describes ref, by digest, if it is cached, Via hit, or has been
	// fetched and is being stored, Via fill.
	Available(ref oci.Ref) (oci.Result, bool)

	// InFlight reports whether ref, by digest, is being fetched.
	InFlight(ref oci.Ref) bool

	// Missing returns the error with which the upstream said a moment ago that it
	// does not have ref, by digest, or nil.
	Missing(ref oci.Ref) error

	// OpenCached opens ref, by digest, without the upstream. It fails with
	// fs.ErrNotExist when ref is not cached.
	OpenCached(ctx context.Context, ref oci.Ref) (*oci.Content, error)

	// OpenWithin is Open of ref, by digest, for a caller that tolerates only so
	// long a silence of the upstream; it fails with call.ErrSilent then.
	OpenWithin(ctx context.Context, ref oci.Ref, silence time.Duration) (*oci.Content, error)

	// PutManifest caches a manifest that was pulled by tag, ref being its digest,
	// and describes it: Via revalidated if it was cached already, else fill.
	PutManifest(ref oci.Ref, mediaType string, raw []byte) oci.Result
}

// Index remembers tags across restarts. Methods may be called concurrently. What a
// method wrote survives a kill of the process; a power failure may lose the last
// writes.
type Index interface {
	Tags() iter.Seq2[Record, error]
	PutTags(records ...Record) error
	RemoveTags(refs ...oci.Ref) error // absent ones are not an error
}

// Record is what a tag named when the upstream was last asked. Times are to the
// millisecond.
type Record struct {
	Ref       oci.Ref
	Latest    oci.Descriptor // the upstream's last response
	Previous  oci.Descriptor // what it named before and was cached; zero when unknown
	Checked   time.Time      // when the upstream confirmed Latest
	Confirmed time.Time      // when it last confirmed Previous; zero when there is none
	Refused   oci.Code       // its response since then, if it refused: not found, or denied; else empty
	RefusedAt time.Time      // when it last refused; zero when it has not
}

// Quota decides about spending pulls. Methods may be called concurrently; ctx carries
// the client. Errors are an *oci.LimitError.
type Quota interface {
	// Save returns why ref, a newer copy of what is cached, should not be fetched; nil
	// when it may be.
	Save(ctx context.Context, ref oci.Ref) error
	// Take books the pull that fetching ref costs, for the client, and returns what
	// gives it back if it was not spent, or why the client may have none.
	Take(ctx context.Context, ref oci.Ref) (refund func(), err error)
}
