package cache_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// A part that an earlier process left is damaged, by a power failure or a bad disk,
// and the disk is full before the rest has arrived. Its beginning was never verified,
// so a client that was sent it must not complete.
func TestDamagedPartOnAFullDisk(t *testing.T) {
	dir := smallDisk(t) // 1 MiB
	fake := new(ocitest.Fake)
	cachetest.Pace(fake, 8*mebibyte)
	refs, contents := blobs(t, fake, 1, 3*mebibyte)
	f := start(t, fake, on(t, dir))
	f.Stop()
	bad := bytes.Clone(contents[0][:300_000])
	bad[1000] ^= 1
	part := filepath.Join(dir, "fills", "sha256-"+refs[0].Digest().Encoded()+".blob.other.300000.1")
	if err := os.WriteFile(part, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	f.Restart(t, on(t, dir))
	if got, _, err := ocitest.Read(t.Context(), f, refs[0]); err == nil && !bytes.Equal(got, contents[0]) {
		t.Errorf("a complete response is wrong: %d bytes", len(got))
	}
}

// The first download has a wrong byte, and the disk is full before that is noticed. A
// second, correct download must not be appended to what was sent of the first.
func TestWrongByteBeforeTheDiskIsFull(t *testing.T) {
	dir := smallDisk(t) // 1 MiB
	fake := new(ocitest.Fake)
	refs, contents := blobs(t, fake, 1, 3*mebibyte)
	var opened atomic.Int32
	fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
		if opened.Add(1) == 1 {
			return cachetest.Slow(&spoilt{ReadSeeker: body, at: 1000}, 8*mebibyte) // so that the client is there
		}
		return body
	})
	f := start(t, fake, on(t, dir))
	if got, _, err := ocitest.Read(t.Context(), f, refs[0]); err == nil && !bytes.Equal(got, contents[0]) {
		t.Errorf("a complete response is wrong: %d bytes", len(got))
	}
	if opened.Load() < 2 {
		t.Error("the disk did not fail in the middle")
	}
}
