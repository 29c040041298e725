// Package s3 is a Bucket on storage that speaks the API of Amazon S3.
package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"mirrord/internal/fleet/bucket"
)

// Options of a Bucket.
type Options struct {
	Endpoint  *url.URL // scheme and host
	Bucket    string
	Prefix    string // of the keys, such as mirrord/; may be empty
	Region    string // empty: the store is asked
	PathStyle bool   // the bucket is in the path, not in the host name

	// AccessKey and SecretKey are the credentials. When they are empty, those of the
	// environment, of the file that AWS' tools share, or of the instance's role are
	// used.
	AccessKey, SecretKey string

	Transport http.RoundTripper // nil: the default

	// UploadLimit is how many bytes of objects are sent in a second, all uploads
	// together. 0: no limit.
	UploadLimit int64

	// PartSize is the size up to which an object is written by one request, and that of
	// the parts of a larger one, in bytes. 0: 64 MiB.
	PartSize int64
}

const defaultPartSize = 64 << 20

// Bucket is a bucket.Bucket on an object store.
type Bucket struct {
	core     *minio.Core
	clock    *clock
	bucket   string
	prefix   string
	partSize int64

	staleCopies atomic.Bool // the store accepts a copy of an object to itself, and leaves its age
}

// New returns the Bucket of o. Nothing is sent.
func New(o Options) (*Bucket, error) {
	clock := &clock{next: o.Transport}
	if clock.next == nil {
		transport, err := minio.DefaultTransport(o.Endpoint.Scheme == "https")
		if err != nil {
			return nil, err
		}
		clock.next = transport
	}
	clock.next = bounded{clock.next}
	if o.UploadLimit > 0 {
		clock.next = newThrottle(clock.next, o.UploadLimit)
	}
	lookup := minio.BucketLookupAuto
	if o.PathStyle {
		lookup = minio.BucketLookupPath
	}
	core, err := minio.NewCore(o.Endpoint.Host, &minio.Options{
		Creds:        credentialsOf(o),
		Secure:       o.Endpoint.Scheme == "https",
		Transport:    clock,
		Region:       o.Region,
		BucketLookup: lookup,
		MaxRetries:   1, // a repeated write that was applied the first time fails its condition
	})
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", o.Endpoint.Host, err)
	}
	size := o.PartSize
	if size == 0 {
		size = defaultPartSize
	}
	return &Bucket{core: core, clock: clock, bucket: o.Bucket, prefix: o.Prefix, partSize: size}, nil
}

func credentialsOf(o Options) *credentials.Credentials {
	if o.AccessKey != "" {
		return credentials.NewStaticV4(o.AccessKey, o.SecretKey, "")
	}
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
	})
}

// Get is of the interface.
func (b *Bucket) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	var o minio.GetObjectOptions
	if from > 0 {
		if err := o.SetRange(from, 0); err != nil {
			return nil, err
		}
	}
	if etag != "" {
		if err := o.SetMatchETag(etag); err != nil {
			return nil, err
		}
	}
	body, info, header, err := b.core.GetObject(ctx, b.bucket, b.prefix+key, o)
	if err != nil {
		return nil, translate("get", key, err)
	}
	size := info.Size
	if from > 0 {
		if size, err = totalSize(header.Get("Content-Range"), from); err != nil {
			_ = body.Close()
			return nil, fmt.Errorf("get %s: %w", key, err)
		}
	}
	return &bucket.Object{
		Info: bucket.Info{Key: key, Size: size, ETag: info.ETag, Age: age(header.Get("Date"), info.LastModified)},
		Body: body,
	}, nil
}

// totalSize is the size of the object of which a response has the bytes from an offset
// on, by its Content-Range (RFC 9110, section 14.4).
func totalSize(header string, from int64) (int64, error) {
	span, total, ok := strings.Cut(header, "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if !ok || err != nil || span != fmt.Sprintf("bytes %d-%d", from, size-1) {
		return 0, fmt.Errorf("the object store sent the range %q where that from %d was asked for", header, from)
	}
	return size, nil
}

// age is the time between when an object was written and when the response was sent, both
// by the store's clock. Without a Date it is zero.
func age(date string, written time.Time) time.Duration {
	sent, err := http.ParseTime(date)
	if err != nil {
		return 0
	}
	return max(0, sent.Sub(written))
}

// Put is of the interface.
func (b *Bucket) Put(ctx context.Context, key string, data []byte, c bucket.Cond) (string, error) {
	return b.put(ctx, key, bytes.NewReader(data), int64(len(data)), c)
}

// put writes an object by one request, with the hash of its bytes, which the store
// compares.
func (b *Bucket) put(ctx context.Context, key string, from io.ReadSeeker, size int64, c bucket.Cond) (string, error) {
	sum, err := hash(from)
	if err != nil {
		return "", fmt.Errorf("put %s: %w", key, err)
	}
	info, err := b.core.PutObject(ctx, b.bucket, b.prefix+key, from, size, "", sum, conditional(c))
	if err != nil {
		return "", translateWrite("put", key, err)
	}
	return info.ETag, nil
}

// hash returns the SHA-256 of what r yields, and rewinds it.
func hash(r io.ReadSeeker) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	_, err := r.Seek(0, io.SeekStart)
	return hex.EncodeToString(h.Sum(nil)), err
}

// conditional returns the options of a write. DisableContentSha256 leaves the hash that the
// caller gives alone: without it, minio-go would send over plain HTTP an encoding of its own
// in chunks, which some stores keep as if it were the object.
func conditional(c bucket.Cond) minio.PutObjectOptions {
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", DisableContentSha256: true}
	switch {
	case c.Absent():
		o.SetMatchETagExcept("*")
	case c.ETag() != "":
		o.SetMatchETag(c.ETag())
	}
	return o
}

// Upload is of the interface.
func (b *Bucket) Upload(ctx context.Context, key string, from io.ReaderAt, size int64, c bucket.Cond) error {
	ctx = asUpload(ctx)
	if size <= b.partSize {
		_, err := b.put(ctx, key, io.NewSectionReader(from, 0, size), size, c)
		return err
	}
	id, err := b.core.NewMultipartUpload(ctx, b.bucket, b.prefix+key, conditional(bucket.Cond{}))
	if err != nil {
		return translateWrite("upload", key, err)
	}
	err = b.uploadParts(ctx, key, id, from, size, c)
	if err != nil {
		b.abort(ctx, key, id)
	}
	return err
}

// uploadParts sends the parts one after another and puts them together under the
// condition, which only the last request can have.
func (b *Bucket) uploadParts(ctx context.Context, key, id string, from io.ReaderAt, size int64, c bucket.Cond) error {
	var parts []minio.CompletePart
	for begin := int64(0); begin < size; begin += b.partSize {
		part := io.NewSectionReader(from, begin, min(b.partSize, size-begin))
		sum, err := hash(part)
		if err != nil {
			return fmt.Errorf("upload %s: %w", key, err)
		}
		sent, err := b.core.PutObjectPart(ctx, b.bucket, b.prefix+key, id, len(parts)+1, part, part.Size(),
			minio.PutObjectPartOptions{Sha256Hex: sum, DisableContentSha256: true})
		if err != nil {
			return translateWrite("upload", key, err)
		}
		parts = append(parts, minio.CompletePart{PartNumber: sent.PartNumber, ETag: sent.ETag})
	}
	if _, err := b.core.CompleteMultipartUpload(ctx, b.bucket, b.prefix+key, id, parts, conditional(c)); err != nil {
		return translateWrite("upload", key, err)
	}
	return nil
}

const abortTime = 10 * time.Second

// abort removes the parts of an upload that has failed, ctx or no ctx. What it misses is
// left to Sweep.
func (b *Bucket) abort(ctx context.Context, key, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	_ = b.core.AbortMultipartUpload(ctx, b.bucket, b.prefix+key, id)
}

// Delete is of the interface.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	return translate("delete", key, b.core.RemoveObject(ctx, b.bucket, b.prefix+key, minio.RemoveObjectOptions{}))
}

// List is of the interface.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		for o := range b.core.Client.ListObjectsIter(ctx, b.bucket, minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}) {
			if o.Err != nil {
				yield(bucket.Info{}, translate("list", prefix, o.Err))
				return
			}
			info := bucket.Info{Key: strings.TrimPrefix(o.Key, b.prefix), Size: o.Size, ETag: o.ETag, Age: max(0, b.clock.since(o.LastModified))}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Sweep is of the interface.
func (b *Bucket) Sweep(ctx context.Context, age time.Duration) error {
	for u := range b.core.ListIncompleteUploads(ctx, b.bucket, b.prefix, true) {
		if u.Err != nil {
			return translate("sweep", b.prefix, u.Err)
		}
		if b.clock.since(u.Initiated) < age {
			continue
		}
		if err := b.core.AbortMultipartUpload(ctx, b.bucket, u.Key, u.UploadID); err != nil {
			return translate("sweep", u.Key, err)
		}
	}
	return nil
}

// Now is of the interface.
func (b *Bucket) Now() (time.Time, bool) { return b.clock.now() }
