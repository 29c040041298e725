// Package bucket is what the mirrors of a fleet share: named objects on storage that
// speaks S3, of which a few are written under a condition.
package bucket

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Errors of a Bucket. Any other error leaves open whether a write was applied.
var (
	// ErrAbsent says that there is no such object.
	ErrAbsent = errors.New("no such object")
	// ErrPrecondition says that the condition of a request does not hold: nothing was
	// written or read.
	ErrPrecondition = errors.New("the object is not as the request demands")
	// ErrConflict says that another write of the same object was in progress: nothing
	// was written, and the same request may succeed later.
	ErrConflict = errors.New("another write of the object is in progress")
	// ErrSlow says that the store wants fewer requests.
	ErrSlow = errors.New("the object store asks for fewer requests")
	// ErrDenied says that the store refuses the credentials or what they ask for.
	ErrDenied = errors.New("the object store denies access")
	// ErrFull says that the store has no space.
	ErrFull = errors.New("the object store is full")
	// ErrTimeout is the cause of a context that ends because the store has not
	// responded in the time that its caller gives it.
	ErrTimeout = errors.New("the object store does not respond in time")
	// ErrUnsupported says that the store does not do what was asked, though it may have
	// accepted the request.
	ErrUnsupported = errors.New("the object store does not support this")
)

// Cond is the condition of a write. The zero Cond is none.
type Cond struct {
	absent bool
	etag   string
}

// IfAbsent is the condition that there is no object (If-None-Match: *, RFC 9110,
// section 13.1.2).
func IfAbsent() Cond { return Cond{absent: true} }

// IfMatch is the condition that the object has that ETag (section 13.1.1). ETags hash
// the bytes, so an object that was replaced by equal bytes matches.
func IfMatch(etag string) Cond { return Cond{etag: etag} }

// Absent reports whether there must be no object.
func (c Cond) Absent() bool { return c.absent }

// ETag is what the object must have; empty for none.
func (c Cond) ETag() string { return c.etag }

// Info describes an object.
type Info struct {
	Key  string
	Size int64 // in bytes
	ETag string
	Age  time.Duration // since it was written, by the store's own clock, which tells whole seconds
}

// Object is an object that is read. Body yields its bytes from the offset that was asked
// for to the end; the caller closes it. Nothing says that they are the right ones.
type Object struct {
	Info
	Body io.ReadCloser
}

// Bucket is the objects of one bucket whose keys have one prefix, which the methods leave
// out. Each method is one attempt: it never repeats a request. Methods may be called
// concurrently.
type Bucket interface {
	// Get opens the object from an offset, if it has that ETag or if etag is empty. It
	// fails with ErrAbsent, and with ErrPrecondition when the object was replaced or the
	// offset is past its end. ctx bounds the Body, too.
	Get(ctx context.Context, key string, from int64, etag string) (*Object, error)

	// Put writes a small object in one step and returns its ETag. It fails with
	// ErrPrecondition, for IfMatch also when there is no object.
	Put(ctx context.Context, key string, data []byte, c Cond) (etag string, err error)

	// Upload writes an object of any size in one step: readers see the whole of it or
	// what was there before. It fails as Put does. What it leaves behind when it fails
	// is removed by Sweep.
	Upload(ctx context.Context, key string, from io.ReaderAt, size int64, c Cond) error

	// Touch sets the age of the object with that ETag to zero, which may change its ETag.
	// It fails with ErrAbsent, ErrPrecondition, and ErrUnsupported when the age is what it
	// was.
	Touch(ctx context.Context, key, etag string) error

	// Delete removes the object. An absent one is not an error.
	Delete(ctx context.Context, key string) error

	// List yields the objects whose keys begin with prefix, ordered by key. What is
	// written or deleted meanwhile may or may not be among them. The error is the last
	// that it yields.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Sweep removes the remains of uploads that began more than age ago. It fails with
	// ErrUnsupported when the store does not list them.
	Sweep(ctx context.Context, age time.Duration) error

	// Now is the store's time: that of its last response, and what has passed since
	// the request was sent. It is false before the first response.
	Now() (time.Time, bool)
}
