package cache

import (
	"context"
	"io"
	"iter"
	"os"
	"time"

	"mirrord/internal/oci"
)

// Store holds verified blobs by digest; it knows no repository, recency or limit.
// Methods may be called concurrently, for one digest too.
type Store interface {
	// Open returns the blob d, whole; the caller closes it. It fails with
	// fs.ErrNotExist when there is none. A reader keeps what it has open when the
	// blob is removed.
	Open(ctx context.Context, d oci.Digest) (io.ReadSeekCloser, error)

	// Put stores the verified content of f as d, durably when it returns: file and
	// directory are synced. It takes over f's name, not f, which the caller closes.
	// Putting a digest that is stored replaces it.
	Put(ctx context.Context, d oci.Digest, f *os.File) error

	// Remove removes d. An absent one is not an error.
	Remove(ctx context.Context, d oci.Digest) error

	// All yields the blobs, in any order, for rebuilding the index, and what lies
	// among them and is not a blob. What is put or removed meanwhile may or may not
	// be among them.
	All(ctx context.Context) iter.Seq2[Blob, error]

	// Discard removes a stray that All has yielded. An absent one is not an error.
	Discard(ctx context.Context, stray string) error
}

// Blob is one blob of a Store. Size is in bytes. What is not a blob has a name as
// its Stray, and nothing else.
type Blob struct {
	Digest  oci.Digest
	Size    int64
	ModTime time.Time
	Stray   string
}

// Policy chooses what to evict. The Cache holds its lock around every call.
type Policy interface {
	Add(d oci.Digest, size int64) // as the most recently used
	Touch(d oci.Digest)           // an unknown one is not an error
	Remove(d oci.Digest)          // an unknown one is not an error
	Victim() (oci.Digest, bool)   // what to evict next; it stays until Remove
}

// Index remembers across restarts what is cached and when it was used. Methods may
// be called concurrently. What a method wrote survives a kill of the process; a
// power failure may lose the last writes.
type Index interface {
	Blobs() iter.Seq2[BlobRecord, error]
	PutBlobs(records ...BlobRecord) error // new ones, and new recency of old ones
	RemoveBlobs(ds ...oci.Digest) error   // absent ones are not an error
}

// BlobRecord is what the index knows of one blob.
type BlobRecord struct {
	oci.Descriptor
	Origin   string    // who sent MediaType: "upstream repository"; empty where the bytes say it
	Used     time.Time // to the second
	Verified time.Time // when its bytes were last hashed, to the second
}

// Quota books pulls. Methods may be called concurrently; ctx
// carries the client.
type Quota interface {
	// Take books the pull that fetching ref costs, for the client, and returns what
	// gives it back if it was not spent. It fails with an *oci.LimitError when the
	// client may have none.
	Take(ctx context.Context, ref oci.Ref) (refund func(), err error)
}
