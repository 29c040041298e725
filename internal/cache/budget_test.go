package cache_test

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// Many parts of one cold blob cost no more than a fifth of its size besides the fill; the
// first ones are served at once.
func TestPartsCostAFifth(t *testing.T) {
	for name, parts := range map[string]int{"eight": 8, "thirty": 30} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				const size = 12 * mebibyte
				blob := ocitest.Content(size, 5)
				ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
				moved := meter(fake, mebibyte)
				f := start(t, fake)
				var clients sync.WaitGroup
				for i := range parts {
					part := oci.Span{Begin: int64(i * size / parts), End: int64((i + 1) * size / parts)}
					clients.Go(func() {
						got, _, err := readParts(t.Context(), f, ref, part)
						if err != nil || !bytes.Equal(got[0], blob[part.Begin:part.End]) {
							t.Errorf("part %d: %v", i, err)
						}
					})
				}
				clients.Wait()
				f.Settled(t)
				if n := moved.Load(); n > size*12/10 || n < size*11/10 {
					t.Errorf("%d bytes for a blob of %d", n, size)
				}
			})
		})
	}
}

// The budget for parts is not reset when a fill is dropped before its turn, because its
// client has got a part and left.
func TestPartsOfABlobThatIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		const size = 10 * mebibyte
		refs, contents := blobs(t, fake, 2, size)
		moved := meter(fake, mebibyte)
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Limits.MaxFills = 1 })
		other, err := f.Open(t.Context(), refs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close() }()
		for i := range int64(10) {
			part := oci.Span{Begin: i * mebibyte, End: (i + 1) * mebibyte}
			got, _, err := readParts(t.Context(), f, refs[1], part)
			if err != nil || !bytes.Equal(got[0], contents[1][part.Begin:part.End]) {
				t.Errorf("part %d: %v", i, err)
			}
		}
		f.Settled(t)
		if n := moved.Load() - size; n > size*12/10+cachetest.Piece { // bytes in flight when it was dropped
			t.Errorf("%d bytes for a blob of %d", n, size)
		}
	})
}

// Parts that are close together are fetched in one request upstream, also those at the
// end, a moment after the fill has begun.
func TestFirstPartsAreOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(8*mebibyte, 6)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader { // bytes in transit arrive at once
			return &burst{cachetest.Slow(body, mebibyte), mebibyte}
		})
		fake.Fail(slowly)
		f := start(t, fake)
		content, err := f.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = content.Close() }()
		<-time.After(5 * time.Millisecond)
		begun := time.Now()
		const size = 8 * mebibyte
		parts := []oci.Span{{Begin: size - 60_000, End: size - 40_000}, {Begin: size - 30_000, End: size - 29_000}, {Begin: size - 100, End: size}}
		got, via, err := readParts(t.Context(), f, ref, parts...)
		for i, part := range parts {
			if err != nil || !bytes.Equal(got[i], blob[part.Begin:part.End]) {
				t.Fatalf("part %d: %v", i, err)
			}
		}
		if took := time.Since(begun); via != oci.Pass || took > 300*time.Millisecond {
			t.Errorf("via %s after %s", via, took)
		}
		if n := fake.Calls("Open", ref.Reference()); n != 2 {
			t.Errorf("%d requests upstream, want that of the fill and one", n)
		}
		f.Settled(t)
	})
}

// 100 ranges in one client's request do not cause 100 requests upstream.
func TestManyRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, ocitest.Content(8<<20, 1)))
		cachetest.Pace(fake, 1024)
		f := start(t, fake)
		c, err := f.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		body := c.Body.(io.ReadSeeker)
		var parts []oci.Span
		for i := range int64(100) {
			parts = append(parts, oci.Span{Begin: 1<<20 + i*4096, End: 1<<20 + i*4096 + 2})
		}
		c.Body.(oci.PartReader).ReadParts(parts)
		for i := range int64(100) {
			if _, err := body.Seek(1<<20+i*4096, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if _, err := body.Read(make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
		}
		if n := fake.Calls("Open", ref.Reference()); n != 2 {
			t.Errorf("%d requests upstream for one client's request", n)
		}
	})
}

// Ranges far apart cause a limited number of requests upstream, and then wait for the
// fill.
func TestManyFarRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, ocitest.Content(8<<20, 1)))
		cachetest.Pace(fake, 16<<10)
		f := start(t, fake)
		c, err := f.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		body := c.Body.(io.ReadSeeker)
		var parts []oci.Span
		for i := range int64(24) {
			parts = append(parts, oci.Span{Begin: 1<<20 + i*300_000, End: 1<<20 + i*300_000 + 2})
		}
		c.Body.(oci.PartReader).ReadParts(parts)
		for i := range int64(24) {
			_, err := body.Seek(1<<20+i*300_000, io.SeekStart)
			if _, failed := body.Read(make([]byte, 2)); err != nil || failed != nil {
				t.Fatal(err, failed)
			}
		}
		if n := fake.Calls("Open", ref.Reference()); n != 17 {
			t.Errorf("%d requests upstream, want 16 besides that of the fill", n)
		}
	})
}
