package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// readParts opens ref and reads these parts of it, like one request of a client.
func readParts(ctx context.Context, f *fixture, ref oci.Ref, parts ...oci.Span) (got [][]byte, via oci.Via, err error) {
	content, err := f.Open(ctx, ref)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = content.Close() }()
	body := content.Body.(io.ReadSeeker)
	if partial, ok := content.Body.(oci.PartReader); ok {
		partial.ReadParts(parts)
	}
	for _, part := range parts {
		if _, err := body.Seek(part.Begin, io.SeekStart); err != nil {
			return got, via, err
		}
		via = content.Via
		if v, ok := content.Body.(interface{ Via() oci.Via }); ok {
			via = v.Via()
		}
		raw := make([]byte, part.End-part.Begin)
		if _, err := io.ReadFull(body, raw); err != nil {
			return got, via, err
		}
		got = append(got, raw)
	}
	return got, via, nil
}

// tail reads ref from offset to its end, like a client that resumes.
func tail(ctx context.Context, f *fixture, ref oci.Ref, offset int64) ([]byte, error) {
	content, err := f.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	if _, err := content.Body.(io.Seeker).Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(content.Body)
}

// metered counts the bytes that are read from a body.
type metered struct {
	io.ReadSeeker
	bytes *atomic.Int64
}

func (m metered) Read(p []byte) (int, error) {
	n, err := m.ReadSeeker.Read(p)
	m.bytes.Add(int64(n))
	return n, err
}

// meter makes the fake's bodies come at rate bytes a second, and counts them.
func meter(fake *ocitest.Fake, rate int) *atomic.Int64 {
	bytes := new(atomic.Int64)
	fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader { return metered{cachetest.Slow(body, rate), bytes} })
	return bytes
}

// A client that reads to the end gets everything at once but the last byte: that comes
// when the whole blob is verified, and never if it is corrupt.
func TestTailWaitsForVerification(t *testing.T) {
	for _, wrongAt := range []int{-1, 100, 8*mebibyte - 100} {
		t.Run(fmt.Sprint(wrongAt), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				blob := ocitest.Content(8*mebibyte, 4)
				ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
				sent := bytes.Clone(blob)
				if wrongAt >= 0 {
					sent[wrongAt] ^= 1
				}
				fake.Wrap(func(oci.Ref, io.ReadSeeker) io.Reader { return cachetest.Slow(bytes.NewReader(sent), mebibyte) })
				f := start(t, fake)
				content, err := f.Open(t.Context(), ref)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = content.Close() }()
				begun, length := time.Now(), 100_000
				if _, err := content.Body.(io.Seeker).Seek(-int64(length), io.SeekEnd); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, length-1)
				if _, err := io.ReadFull(content.Body, got); err != nil || time.Since(begun) > 200*time.Millisecond {
					t.Errorf("all but the last byte took %s, %v", time.Since(begun), err)
				}
				n, err := content.Body.Read(make([]byte, 10))
				if took := time.Since(begun).Round(time.Second); took != 8*time.Second {
					t.Errorf("the last byte took %s, the fill takes 8 s", took)
				}
				if wrongAt < 0 && (n != 1 || err != nil && err != io.EOF) || wrongAt >= 0 && (n != 0 || !errors.Is(err, oci.ErrCorrupt)) {
					t.Errorf("at the end: %d bytes, %v", n, err)
				}
			})
		})
	}
}

// A request for the last byte alone waits for the fill.
func TestLastByteWaits(t *testing.T) {
	for _, size := range []int{1, 2, 8 * mebibyte} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				blob := ocitest.Content(size, 4)
				ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
				cachetest.Pace(fake, mebibyte)
				f := start(t, fake)
				got, err := tail(t.Context(), f, ref, int64(size-1))
				if err != nil || !bytes.Equal(got, blob[size-1:]) || fake.Calls("Open", ref.Reference()) != 1 {
					t.Errorf("%q, %v, after %d requests upstream", got, err, fake.Calls("Open", ref.Reference()))
				}
			})
		})
	}
}

// Passed bytes come from another response than the fill: if they alone are wrong, the
// fill does not vouch for them.
func TestWrongPassNeverCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(8*mebibyte, 4)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		var opens atomic.Int32
		fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
			if opens.Add(1) == 1 {
				return cachetest.Slow(body, mebibyte)
			}
			wrong := bytes.Clone(blob)
			wrong[len(wrong)-50] ^= 1
			return bytes.NewReader(wrong)
		})
		f := start(t, fake)
		if got, err := tail(t.Context(), f, ref, 8*mebibyte-100); !errors.Is(err, oci.ErrCorrupt) || len(got) >= 100 {
			t.Errorf("%d of 100 bytes, %v", len(got), err)
		}
		f.Settled(t)
		f.MustRead(t, ref, blob, oci.Hit)
	})
}

// slowly is a fault: the latency of a distant upstream.
func slowly(ocitest.Call) error {
	<-time.After(100 * time.Millisecond)
	return nil
}

// burst sends its first bytes without delay.
type burst struct {
	cachetest.Paced
	left int
}

func (b *burst) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return b.Paced.Read(p)
	}
	n, err := b.ReadSeeker.Read(p)
	b.left -= n
	return n, err
}

// An upstream that sends the whole blob for a part gets one such request, not eight, and
// its bytes are not skipped to reach the part.
func TestUpstreamThatSendsNoParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		const size = 8 * mebibyte
		blob := ocitest.Content(size, 7)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		var moved atomic.Int64
		fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
			return struct{ io.Reader }{metered{cachetest.Slow(body, mebibyte), &moved}}
		})
		fake.Fail(slowly)
		f := start(t, fake)
		var clients sync.WaitGroup
		for i := range int64(8) {
			part := oci.Span{Begin: i*mebibyte + 1000, End: i*mebibyte + 2000}
			clients.Go(func() {
				got, _, err := readParts(t.Context(), f, ref, part)
				if err != nil || !bytes.Equal(got[0], blob[part.Begin:part.End]) {
					t.Errorf("part %d: %v", i, err)
				}
			})
		}
		clients.Wait()
		f.Settled(t)
		if n := fake.Calls("Open", ref.Reference()); n != 2 || moved.Load() > size*12/10 {
			t.Errorf("%d requests upstream and %d bytes", n, moved.Load())
		}
	})
}

// A part that the upstream refuses or breaks off is served from the fill. After a refusal
// no more parts are requested.
func TestPassThatFails(t *testing.T) {
	for name, test := range map[string]struct {
		readable int64
		requests int
	}{
		"refused": {-1, 1},
		"broken":  {5000, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				const size = 8 * mebibyte
				blob := ocitest.Content(size, 8)
				ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
				var opens atomic.Int32
				fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
					if opens.Add(1) == 1 {
						return cachetest.Slow(body, mebibyte)
					}
					return &broken{ReadSeeker: body, left: test.readable, from: func(int64) {}}
				})
				f := start(t, fake)
				content, err := f.Open(t.Context(), ref)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = content.Close() }()
				if test.readable < 0 {
					fake.Fail(cachetest.Down)
				}
				var clients sync.WaitGroup
				for i := range int64(3) {
					part := oci.Span{Begin: size - 20_000*(i+1), End: size - 20_000*i - 10_000}
					clients.Go(func() {
						got, _, err := readParts(t.Context(), f, ref, part)
						if err != nil || !bytes.Equal(got[0], blob[part.Begin:part.End]) {
							t.Errorf("%v", err)
						}
					})
				}
				clients.Wait()
				if n := fake.Calls("Open", ref.Reference()); n != 1+test.requests {
					t.Errorf("%d requests upstream, want that of the fill and %d", n, test.requests)
				}
				f.Settled(t)
			})
		})
	}
}

// A pass ends when the fill has caught up with it.
func TestFillCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		const size = 8 * mebibyte
		blob := ocitest.Content(size, 9)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		moved := meter(fake, mebibyte)
		f := start(t, fake)
		content, err := f.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = content.Close() }()
		part := oci.Span{Begin: 4 * mebibyte, End: 5 * mebibyte}
		content.Body.(oci.PartReader).ReadParts([]oci.Span{part})
		body := content.Body.(io.ReadSeeker)
		if _, err := body.Seek(part.Begin, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, mebibyte)
		_, err = io.ReadFull(body, got[:100_000])
		<-time.After(5 * time.Second) // a slow client
		_, err2 := io.ReadFull(body, got[100_000:])
		if err := errors.Join(err, err2); err != nil || !bytes.Equal(got, blob[part.Begin:part.End]) {
			t.Error(err)
		}
		f.Settled(t)
		if n := moved.Load() - size; n > 200_000 {
			t.Errorf("%d bytes besides the fill", n)
		}
	})
}

// A pass ends when its client leaves.
func TestPassEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(8*mebibyte, 10)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		cachetest.Pace(fake, mebibyte)
		f := start(t, fake)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := tail(ctx, f, ref, 8*mebibyte-1000); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		f.Settled(t)
		f.MustRead(t, ref, blob, oci.Hit)
	})
}
