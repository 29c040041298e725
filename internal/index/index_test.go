package index

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/opencontainers/go-digest"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache", "index")
	ix := open(t, dir)
	wantBlobs := make(map[oci.Digest]cache.BlobRecord)
	var records []cache.BlobRecord
	for i := range 100 {
		records = append(records, blob(i))
		wantBlobs[blob(i).Digest] = blob(i)
	}
	never := cache.BlobRecord{Descriptor: oci.Descriptor{Digest: digest.SHA512.FromString("never used")}}
	wantBlobs[never.Digest] = never
	check(t, ix.PutBlobs(append(records, never)...))

	used := blob(3)
	used.Used = used.Used.Add(time.Hour)
	wantBlobs[used.Digest] = used
	check(t, ix.PutBlobs(used))

	delete(wantBlobs, blob(5).Digest)
	check(t, ix.RemoveBlobs(blob(5).Digest, blob(5).Digest, digest.FromString("absent")))

	hub, local := tag(t, oci.DockerHub, "alpine", "3"), tag(t, "localhost:5000", "a/b", "v1.2_x")
	gone := tag(t, oci.DockerHub, "alpine", "4")
	local.Previous, local.Confirmed = oci.Descriptor{}, time.Time{}
	local.Refused, local.RefusedAt = oci.ManifestUnknown, local.Checked.Add(time.Hour)
	check(t, ix.PutTags(gone))
	check(t, ix.PutTags(gone))
	check(t, ix.PutTags(hub))
	check(t, ix.PutTags(local))
	check(t, ix.RemoveTags(gone.Ref, gone.Ref))
	wantTags := map[string]tags.Record{hub.Ref.String(): hub, local.Ref.String(): local}

	want(t, blobs(t, ix), wantBlobs)
	want(t, indexedTags(t, ix), wantTags)
	closeIndex(t, ix)

	ix = open(t, dir)
	want(t, blobs(t, ix), wantBlobs)
	want(t, indexedTags(t, ix), wantTags)
}

func TestEmptyBatches(t *testing.T) {
	ix := open(t, t.TempDir())
	check(t, ix.PutBlobs())
	check(t, ix.RemoveBlobs())
	check(t, ix.RemoveTags())
	want(t, blobs(t, ix), map[oci.Digest]cache.BlobRecord{})
	want(t, indexedTags(t, ix), map[string]tags.Record{})
}

func TestPutTagRefusesDigest(t *testing.T) {
	ix := open(t, t.TempDir())
	record := tag(t, oci.DockerHub, "alpine", "3")
	record.Ref = record.Ref.At(record.Latest.Digest)
	if err := ix.PutTags(record); err == nil {
		t.Error("a reference by digest was accepted as a tag")
	}
}

func TestSequenceStops(t *testing.T) {
	ix := open(t, t.TempDir())
	check(t, ix.PutBlobs(blob(1), blob(2), blob(3)))
	seen := 0
	for range ix.Blobs() {
		seen++
		break
	}
	if seen != 1 {
		t.Errorf("%d records before the break", seen)
	}
}

func TestConcurrent(t *testing.T) {
	ix := open(t, t.TempDir())
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 50 {
				if err := ix.PutBlobs(blob(i*50 + j)); err != nil {
					t.Error(err)
				}
			}
			for _, err := range ix.Blobs() {
				if err != nil {
					t.Error(err)
				}
			}
			if err := ix.RemoveBlobs(blob(i * 50).Digest); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := len(blobs(t, ix)); got != 8*49 {
		t.Errorf("%d records, want %d", got, 8*49)
	}
}

// A batch may be larger than a transaction of badger, and than a memtable.
func TestLargeBatch(t *testing.T) {
	dir := t.TempDir()
	ix := open(t, dir)
	const n = 60_000
	records := make([]cache.BlobRecord, n)
	for i := range records {
		records[i] = blob(i)
	}
	check(t, ix.PutBlobs(records...))
	closeIndex(t, ix)
	if got := len(blobs(t, open(t, dir))); got != n {
		t.Errorf("%d records, want %d", got, n)
	}
}

// A copy of the directory of an open database is what a kill leaves.
func TestKilled(t *testing.T) {
	dir, killed := t.TempDir(), filepath.Join(t.TempDir(), "killed")
	ix := open(t, dir)
	record := tag(t, oci.DockerHub, "alpine", "3")
	check(t, ix.PutBlobs(blob(1), blob(2)))
	check(t, ix.PutTags(record))
	check(t, os.CopyFS(killed, os.DirFS(dir)))

	survivor := open(t, killed)
	want(t, blobs(t, survivor), map[oci.Digest]cache.BlobRecord{blob(1).Digest: blob(1), blob(2).Digest: blob(2)})
	want(t, indexedTags(t, survivor), map[string]tags.Record{record.Ref.String(): record})
}

func TestDamagedRecordIsSkipped(t *testing.T) {
	ix := open(t, t.TempDir())
	record := tag(t, oci.DockerHub, "alpine", "3")
	check(t, ix.PutBlobs(blob(1), blob(2), blob(3)))
	check(t, ix.PutTags(record))
	check(t, ix.db.Update(func(txn *badger.Txn) error {
		return errors.Join(
			txn.Set(blobKey(blob(2).Digest), []byte{blobVersion + 1, 0}),
			txn.Set([]byte(tagPrefix+"no tag"), encodeTag(record)))
	}))

	var intact, damaged int
	for r, err := range ix.Blobs() {
		switch {
		case err == nil:
			intact++
		case errors.Is(err, ErrDamaged) && strings.Contains(err.Error(), blob(2).Digest.String()) && r == (cache.BlobRecord{}):
			damaged++
		default:
			t.Errorf("blob %v: %v", r, err)
		}
	}
	for r, err := range ix.Tags() {
		switch {
		case err == nil:
			intact++
		case errors.Is(err, ErrDamaged) && r == (tags.Record{}):
			damaged++
		default:
			t.Errorf("tag %v: %v", r, err)
		}
	}
	if intact != 3 || damaged != 2 {
		t.Errorf("%d intact records and %d damaged ones, want 3 and 2", intact, damaged)
	}
}

func TestSchemaVersion(t *testing.T) {
	for _, test := range []struct {
		value []byte
		want  error
	}{
		{binary.AppendUvarint(nil, schemaVersion), nil},
		{binary.AppendUvarint(nil, schemaVersion+1), ErrVersion},
		{binary.AppendUvarint(nil, 0), ErrDamaged},
		{nil, ErrDamaged},
	} {
		dir := t.TempDir()
		ix := open(t, dir)
		check(t, ix.db.Update(func(txn *badger.Txn) error { return txn.Set([]byte(schemaKey), test.value) }))
		closeIndex(t, ix)
		ix, err := Open(dir, Options{})
		if !errors.Is(err, test.want) {
			t.Errorf("schema %v: %v, want %v", test.value, err, test.want)
		}
		if err == nil {
			closeIndex(t, ix)
		}
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	ix := open(t, dir)
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) || errors.Is(err, ErrDamaged) {
		t.Errorf("open twice: %v, want ErrInUse", err)
	}
	closeIndex(t, ix)
	open(t, dir)
}

func TestClosed(t *testing.T) {
	ix := open(t, t.TempDir())
	closeIndex(t, ix)
	closeIndex(t, ix)
	if err := ix.PutBlobs(blob(1)); !errors.Is(err, badger.ErrDBClosed) {
		t.Errorf("put after close: %v", err)
	}
	var got []error
	for _, err := range ix.Blobs() {
		got = append(got, err)
	}
	if len(got) != 1 || !errors.Is(got[0], badger.ErrDBClosed) {
		t.Errorf("blobs after close: %v", got)
	}
}
