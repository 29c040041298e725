package cache

import (
	"context"
	"io"
	"iter"
	"os"
	"time"

	"mirrord/internal/oci"
)

// Store keeps verified blobs by digest; it knows no repository, recency or
// limit. Methods may be called concurrently, for one digest too.
type Store interface {
	// Open returns the blob d, whole; the caller closes it. It fails with
	// fs.ErrNotExist when d is not kept. A reader keeps what it has open when
	// the blob is removed.
	Open(ctx context.Context, d oci.Digest) (io.ReadSeekCloser, error)

	// Put keeps the verified content of f as d, durably when it returns: file
	// and directory are synced. It takes over f's name, not f, which the
	// caller closes. Putting a digest that is kept replaces it.
	Put(ctx context.Context, d oci.Digest, f *os.File) error

	// Remove forgets d. An absent one is no error.
	Remove(ctx context.Context, d oci.Digest) error

	// All yields what is kept, in any order, for rebuilding the index, and what
	// lies among it and is no blob. What is put or removed meanwhile may or may
	// not be among it.
	All(ctx context.Context) iter.Seq2[Blob, error]

	// Discard removes a stray that All told of. An absent one is no error.
	Discard(ctx context.Context, stray string) error
}

// Blob is one blob of a Store. Size is in bytes. What is no blob has a name as
// its Stray, and nothing else.
type Blob struct {
	Digest  oci.Digest
	Size    int64
	ModTime time.Time
	Stray   string
}

// Policy chooses what to forget. The Cache holds its lock around every call.
type Policy interface {
	Add(d oci.Digest, size int64) // as the most recently used
	Touch(d oci.Digest)           // an unknown one is no error
	Remove(d oci.Digest)          // an unknown one is no error
	Victim() (oci.Digest, bool)   // what to forget next; it stays until Remove
}

// Index remembers across restarts what is kept and when it was used. Methods
// may be called concurrently. What a method wrote survives a kill of the
// process; a power failure may take the last writes.
type Index interface {
	Blobs() iter.Seq2[BlobRecord, error]
	PutBlobs(records ...BlobRecord) error // new ones, and new recency of old ones
	RemoveBlobs(ds ...oci.Digest) error   // absent ones are no error
}

// BlobRecord is what the index knows of one blob.
type BlobRecord struct {
	oci.Descriptor
	Origin   string    // who sent MediaType: "upstream repository"; empty where the bytes say it
	Used     time.Time // to the second
	Verified time.Time // when its bytes were last hashed, to the second
}

// Quota decides about spending the pulls of an upstream. Methods may be called
// concurrently; ctx tells the client. Errors are an *oci.LimitError.
type Quota interface {
	// Take books a pull for the client, or says why it may have none.
	Take(ctx context.Context, upstream string) error
	// Return gives back a pull that was taken and not spent.
	Return(ctx context.Context, upstream string)
}
