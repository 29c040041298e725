package index

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

func TestDecodeRefuses(t *testing.T) {
	record := tag(t, oci.DockerHub, "alpine", "3")
	blobKey, tagKey := string(blobKey(blob(2).Digest)), string(tagKey(record.Ref))
	for i := range encodeBlob(blob(2)) {
		if _, err := decodeBlob(blobKey, encodeBlob(blob(2))[:i]); err == nil {
			t.Errorf("the first %d bytes of a blob record were decoded", i)
		}
	}
	for i := range encodeTag(record) {
		if _, err := decodeTag(tagKey, encodeTag(record)[:i]); err == nil {
			t.Errorf("the first %d bytes of a tag record were decoded", i)
		}
	}
	if _, err := decodeBlob(blobKey, append(encodeBlob(blob(2)), 0)); err == nil {
		t.Error("a blob record with an extra byte was decoded")
	}
	negative := blob(2)
	negative.Size = -1
	if _, err := decodeBlob(blobKey, encodeBlob(negative)); err == nil {
		t.Error("a negative size was decoded")
	}
	for _, key := range []string{"", "b/", "b/sha256:ab", tagKey} {
		if _, err := decodeBlob(key, encodeBlob(blob(2))); err == nil {
			t.Errorf("%q was accepted as the key of a blob", key)
		}
	}
	for _, key := range []string{"", "t/", "t/docker.io", "t/docker.io alpine", "t/docker.io A:3", "t/docker.io alpine:3:4", "t/docker.io alpine:" + blob(1).Digest.String(), blobKey} {
		if _, err := decodeTag(key, encodeTag(record)); err == nil {
			t.Errorf("%q was accepted as the key of a tag", key)
		}
	}
	record.Latest = oci.Descriptor{}
	if _, err := decodeTag(tagKey, encodeTag(record)); err == nil {
		t.Error("a tag without a digest was decoded")
	}
}

// Whatever can be decoded is the same after encoding and decoding it again.
func FuzzDecode(f *testing.F) {
	ref, err := oci.ParseManifest(oci.DockerHub, "alpine", "3")
	if err != nil {
		f.Fatal(err)
	}
	old := blob(4)
	old.Used = time.Unix(math.MinInt64, 0)
	f.Add(string(blobKey(blob(2).Digest)), encodeBlob(blob(2)))
	f.Add(string(blobKey(old.Digest)), encodeBlob(old))
	old.Origin = "docker.io library/alpine"
	f.Add(string(blobKey(old.Digest)), encodeBlob(old))
	f.Add(string(tagKey(ref)), append([]byte{tagVersion}, bytes.Repeat([]byte{0}, 7)...))
	record := []byte{tagVersion}
	record = appendDescriptor(record, blob(2).Descriptor)
	record = appendDescriptor(record, oci.Descriptor{})
	f.Add(string(tagKey(ref)), append(record, 2))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		if r, err := decodeBlob(key, value); err == nil {
			clear(value) // it is badger's memory, which a record must not retain
			again, err := decodeBlob(string(blobKey(r.Digest)), encodeBlob(r))
			if err != nil || again != r || len(r.MediaType) > len(value) {
				t.Errorf("%+v comes back as %+v, %v", r, again, err)
			}
		}
		if r, err := decodeTag(key, value); err == nil {
			clear(value)
			again, err := decodeTag(string(tagKey(r.Ref)), encodeTag(r))
			if err != nil || again != r || len(r.Latest.MediaType+r.Previous.MediaType) > len(value) {
				t.Errorf("%+v comes back as %+v, %v", r, again, err)
			}
		}
	})
}

// Records are the same after encoding and decoding, whatever the media type is.
func FuzzEncode(f *testing.F) {
	f.Add("alpine", "3", "application/json", uint64(7), int64(1_700_000_000_123))
	f.Add("a/b.c", "v1_2", "\xff\x00", uint64(math.MaxUint64), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, repository, tag, mediaType string, size uint64, at int64) {
		at /= 2 // leave space for an hour before and after it
		moment := time.Unix(at/1000, 0).UTC()
		b := cache.BlobRecord{Descriptor: blob(1).Descriptor, Used: moment, Verified: moment.Add(time.Hour)}
		b.MediaType, b.Size = mediaType, int64(size>>1)
		if got, err := decodeBlob(string(blobKey(b.Digest)), encodeBlob(b)); err != nil || got != b {
			t.Errorf("%+v comes back as %+v, %v", b, got, err)
		}
		ref, err := oci.ParseManifest(oci.DockerHub, repository, tag)
		if err != nil || ref.ByDigest() {
			return
		}
		r := tags.Record{Ref: ref, Latest: b.Descriptor, Checked: time.UnixMilli(at).UTC()}
		if size%2 == 1 {
			r.Previous, r.Confirmed = blob(2).Descriptor, r.Checked.Add(-time.Hour)
		}
		if size%3 == 1 {
			r.Refused, r.RefusedAt = oci.Denied, r.Checked.Add(time.Hour)
		}
		if got, err := decodeTag(string(tagKey(ref)), encodeTag(r)); err != nil || got != r {
			t.Errorf("%+v comes back as %+v, %v", r, got, err)
		}
	})
}

// Records of older versions can be decoded; what they lack is filled in.
func TestOldTagRecord(t *testing.T) {
	t.Parallel()
	want := tag(t, oci.DockerHub, "library/alpine", "3")
	value := []byte{1}
	value = appendDescriptor(value, want.Latest)
	value = appendDescriptor(value, want.Previous)
	value = binary.AppendVarint(value, want.Checked.UnixMilli())
	got, err := decodeTag(string(tagKey(want.Ref)), value)
	want.Confirmed = want.Checked
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func TestOldBlobRecord(t *testing.T) {
	t.Parallel()
	want := blob(2)
	value := appendString([]byte{1}, want.MediaType)
	value = binary.AppendUvarint(value, uint64(want.Size))
	value = binary.AppendVarint(value, want.Used.Unix())
	got, err := decodeBlob(string(blobKey(want.Digest)), value)
	want.Verified = time.Unix(0, 0).UTC()
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

// The origin of a media type is restored. Only a record that has one gets the
// version that an older mirrord cannot read.
func TestBlobOrigin(t *testing.T) {
	t.Parallel()
	for origin, version := range map[string]byte{"": 2, "docker.io library/alpine": 3} {
		want := blob(2)
		want.Origin = origin
		value := encodeBlob(want)
		got, err := decodeBlob(string(blobKey(want.Digest)), value)
		if err != nil || got != want || value[0] != version {
			t.Errorf("version %d: %+v, %v; want %+v", value[0], got, err, want)
		}
	}
}

// Quotas are read as they were written, also after a restart.
func TestQuotas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ix, err := Open(dir, Options{})
	check(t, err)
	check(t, ix.PutQuotas(map[string][]byte{"docker.io a": []byte("1"), "docker.io b": nil}))
	check(t, ix.PutQuotas(map[string][]byte{"docker.io a": []byte("2")}))
	check(t, ix.Close())
	ix, err = Open(dir, Options{})
	check(t, err)
	defer func() { check(t, ix.Close()) }()
	got, err := ix.Quotas()
	if err != nil || len(got) != 2 || string(got["docker.io a"]) != "2" || len(got["docker.io b"]) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	for _, err := range ix.Tags() {
		t.Errorf("a quota is read as a tag: %v", err)
	}
}
