package index

import (
	"iter"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"mirrord/internal/fleet"
	"mirrord/internal/oci"
)

var _ fleet.Queue = (*Index)(nil)

// Keys are "u/<kind> <upstream> <repository> <digest>".
const (
	uploadPrefix  = "u/"
	uploadVersion = 1
)

func uploadKey(ref oci.Ref) []byte {
	return []byte(uploadPrefix + strings.Join([]string{ref.Kind().String(), ref.Upstream(), ref.Repository(), ref.Digest().String()}, " "))
}

// decodeUpload returns what a key and its value say is to be uploaded.
func decodeUpload(key string, value []byte) (oci.Ref, error) {
	names := strings.Split(strings.TrimPrefix(key, uploadPrefix), " ")
	if len(names) != 4 || !strings.HasPrefix(key, uploadPrefix) {
		return oci.Ref{}, errKey
	}
	parse := oci.ParseBlob
	if names[0] == oci.Manifest.String() {
		parse = oci.ParseManifest
	}
	ref, err := parse(names[1], names[2], names[3])
	if err != nil {
		return oci.Ref{}, err
	}
	if !ref.ByDigest() {
		return oci.Ref{}, errKey
	}
	return ref, newDecoder(value, uploadVersion).end()
}

// Uploads yields what waits to be uploaded, and errors as Blobs does.
func (ix *Index) Uploads() iter.Seq2[oci.Ref, error] {
	return records(ix, uploadPrefix, decodeUpload)
}

// PutUpload notes that ref, by digest, waits to be uploaded.
func (ix *Index) PutUpload(ref oci.Ref) error {
	err := ix.write(func(batch *badger.WriteBatch) error { return batch.Set(uploadKey(ref), []byte{uploadVersion}) })
	return wrap("put upload", err)
}

// RemoveUpload removes ref, which may be absent.
func (ix *Index) RemoveUpload(ref oci.Ref) error {
	err := ix.write(func(batch *badger.WriteBatch) error { return batch.Delete(uploadKey(ref)) })
	return wrap("remove upload", err)
}
