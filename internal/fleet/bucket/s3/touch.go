package s3

import (
	"context"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"

	"mirrord/internal/fleet/bucket"
)

const (
	maxCopy = 5 << 30     // bytes that one request may copy
	whole   = time.Second // the store's clock tells no less
)

// Touch is of the interface. It copies the object to itself. Some stores accept that
// without effect: there it is put together again, from one part.
func (b *Bucket) Touch(ctx context.Context, key, etag string) error {
	before, err := b.stat(ctx, key)
	if err != nil {
		return err
	}
	if before.ETag != etag {
		return fmt.Errorf("touch %s: %w", key, bucket.ErrPrecondition)
	}
	age := b.clock.since(before.LastModified)
	if before.Size <= maxCopy && !b.staleCopies.Load() {
		if err := b.copyWhole(ctx, key, etag); err != nil {
			return err
		}
		after, err := b.stat(ctx, key)
		if err != nil || age <= whole || after.LastModified.After(before.LastModified) {
			return err
		}
		b.staleCopies.Store(true)
	}
	if err := b.copyParts(ctx, key, before); err != nil {
		return err
	}
	after, err := b.stat(ctx, key)
	if err == nil && age > whole && !after.LastModified.After(before.LastModified) {
		err = fmt.Errorf("touch %s: %w", key, bucket.ErrUnsupported)
	}
	return err
}

func (b *Bucket) stat(ctx context.Context, key string) (minio.ObjectInfo, error) {
	info, err := b.core.StatObject(ctx, b.bucket, b.prefix+key, minio.StatObjectOptions{})
	return info, translate("touch", key, err)
}

func (b *Bucket) copyWhole(ctx context.Context, key, etag string) error {
	to := minio.CopyDestOptions{
		Bucket: b.bucket, Object: b.prefix + key,
		ReplaceMetadata: true, // a copy to itself that changes nothing is refused
	}
	_, err := b.core.Client.CopyObject(ctx, to, minio.CopySrcOptions{Bucket: b.bucket, Object: b.prefix + key, MatchETag: etag})
	return translate("touch", key, err)
}

// copyParts replaces the object by a copy of itself that consists of parts.
func (b *Bucket) copyParts(ctx context.Context, key string, o minio.ObjectInfo) error {
	if o.Size == 0 { // of which there is no part
		_, err := b.Put(ctx, key, nil, bucket.IfMatch(o.ETag))
		return err
	}
	id, err := b.core.NewMultipartUpload(ctx, b.bucket, b.prefix+key, conditional(bucket.Cond{}))
	if err != nil {
		return translate("touch", key, err)
	}
	if err := b.copyInto(ctx, key, id, o); err != nil {
		b.abort(ctx, key, id)
		return translateWrite("touch", key, err)
	}
	return nil
}

// copyInto copies the object into an upload of itself and completes that, if it is still
// the same object then.
func (b *Bucket) copyInto(ctx context.Context, key, id string, o minio.ObjectInfo) error {
	condition := map[string]string{"x-amz-copy-source-if-match": o.ETag}
	var parts []minio.CompletePart
	for begin := int64(0); begin < o.Size; begin += maxCopy {
		part, err := b.core.CopyObjectPart(ctx, b.bucket, b.prefix+key, b.bucket, b.prefix+key, id, len(parts)+1,
			begin, min(maxCopy, o.Size-begin), condition)
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	_, err := b.core.CompleteMultipartUpload(ctx, b.bucket, b.prefix+key, id, parts, conditional(bucket.IfMatch(o.ETag)))
	return err
}
