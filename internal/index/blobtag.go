package index

import (
	"fmt"
	"iter"

	"github.com/dgraph-io/badger/v4"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

// Blobs yields the blob records. For one that cannot be decoded it yields an error
// that wraps ErrDamaged and names the record, and continues; any other error ends
// the sequence.
func (ix *Index) Blobs() iter.Seq2[cache.BlobRecord, error] {
	return records(ix, blobPrefix, decodeBlob)
}

// Tags yields the tag records, and errors as Blobs does.
func (ix *Index) Tags() iter.Seq2[tags.Record, error] {
	return records(ix, tagPrefix, decodeTag)
}

// PutBlobs writes new records and replaces old ones. A very large batch is written
// in several transactions, some of which may have been committed when it fails.
func (ix *Index) PutBlobs(records ...cache.BlobRecord) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for _, r := range records {
			if err := batch.Set(blobKey(r.Digest), encodeBlob(r)); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("put blob records", err)
}

// RemoveBlobs removes the records of ds, of which some may be absent.
func (ix *Index) RemoveBlobs(ds ...oci.Digest) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for _, d := range ds {
			if err := batch.Delete(blobKey(d)); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("remove blob records", err)
}

// PutTags writes new records and replaces old ones, as PutBlobs does. It fails, and
// writes nothing, when a Ref is not a tag.
func (ix *Index) PutTags(records ...tags.Record) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for _, r := range records {
			if r.Ref.Tag() == "" {
				return fmt.Errorf("%s is not a tag", r.Ref)
			}
			if err := batch.Set(tagKey(r.Ref), encodeTag(r)); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("put tag records", err)
}

// RemoveTags removes the records of refs, of which some may be absent.
func (ix *Index) RemoveTags(refs ...oci.Ref) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for _, ref := range refs {
			if err := batch.Delete(tagKey(ref)); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("remove tag records", err)
}
