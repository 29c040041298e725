package cache_test

import (
	"bytes"
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

// busy counts the bodies that are being read at once, and their maximum.
type busy struct{ now, most atomic.Int32 }

func (b *busy) wrap(_ oci.Ref, body io.ReadSeeker) io.Reader {
	return &counted{Paced: cachetest.Slow(body, mebibyte), busy: b}
}

type counted struct {
	cachetest.Paced
	busy *busy
	read bool
}

func (c *counted) Read(p []byte) (int, error) {
	if !c.read {
		c.read = true
		now := c.busy.now.Add(1)
		for most := c.busy.most.Load(); now > most && !c.busy.most.CompareAndSwap(most, now); most = c.busy.most.Load() {
		}
	}
	n, err := c.Paced.Read(p)
	if err != nil {
		c.busy.now.Add(-1)
	}
	return n, err
}

// No more than MaxFills blobs are filled at once. The response to a waiting client
// begins at once all the same: containerd wants a header within 30 s.
func TestFillsNeverExceedMaxFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		var b busy
		fake.Wrap(b.wrap)
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Limits.MaxFills = 2 })
		refs, contents := blobs(t, fake, 6, 20*mebibyte)
		var clients sync.WaitGroup
		begun := time.Now()
		for i := range refs {
			clients.Go(func() {
				content, err := f.Open(t.Context(), refs[i])
				if err != nil {
					t.Error(err)
					return
				}
				_ = content.Close()
				if took := time.Since(begun); took > time.Second || content.Size != int64(len(contents[i])) {
					t.Errorf("response after %s with a size of %d", took, content.Size)
				}
				f.MustRead(t, refs[i], contents[i], oci.Fill)
			})
		}
		clients.Wait()
		if took := time.Since(begun).Round(time.Second); b.most.Load() != 2 || took != 60*time.Second {
			t.Errorf("%d fills at once took %s, want 2 and 60s", b.most.Load(), took)
		}
	})
}

// An upstream that is too slow takes no more than its turns, so that another one's blob is
// filled at once.
func TestFillsOfOneUpstreamLeaveTurnsToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		var b busy
		fake.Wrap(b.wrap)
		f := start(t, fake, func(o *cachetest.Options) {
			o.Cache.Limits.MaxFills, o.Cache.Limits.MaxFillsOf = 3, map[string]int{ocitest.Upstream: 2}
		})
		refs, contents := blobs(t, fake, 6, 20*mebibyte)
		other, err := oci.ParseBlob("other.example", refs[5].Repository(), refs[5].Digest().String())
		if err != nil {
			t.Fatal(err)
		}
		var clients sync.WaitGroup
		for i := range refs[:5] {
			clients.Go(func() { f.MustRead(t, refs[i], contents[i], oci.Fill) })
		}
		<-time.After(time.Second)
		begun := time.Now()
		f.MustRead(t, other, contents[5], oci.Fill)
		if took := time.Since(begun).Round(time.Second); took != 20*time.Second || b.most.Load() != 3 {
			t.Errorf("the other upstream's blob took %s, with %d fills at once; want 20s and 3", took, b.most.Load())
		}
		clients.Wait()
		f.Settled(t)
	})
}

// What no client waits for takes a quarter of the turns, and comes after all clients. A
// client that wants one of those does not wait with them.
func TestClientsComeBeforeTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		var b busy
		fake.Wrap(b.wrap)
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Limits.MaxFills = 8 })
		refs, contents := blobs(t, fake, 20, 20*mebibyte)
		background := oci.WithBackground(t.Context())
		var work, clients sync.WaitGroup
		for _, ref := range refs[:10] {
			work.Go(func() {
				if _, _, err := ocitest.Read(background, f, ref); err != nil {
					t.Error(err)
				}
			})
		}
		<-time.After(time.Second)
		if b.most.Load() != 2 {
			t.Errorf("%d fills at once in the background, want 2 of 8", b.most.Load())
		}
		begun := time.Now()
		for i := range refs[4:16] { // some of which wait in the background
			clients.Go(func() { f.MustRead(t, refs[4+i], contents[4+i], oci.Fill) })
		}
		clients.Wait()
		if took := time.Since(begun).Round(time.Second); took > 41*time.Second || b.most.Load() != 8 {
			t.Errorf("twelve blobs of clients took %s, with %d fills at once; want 40s and 8", took, b.most.Load())
		}
		work.Wait()
		f.Settled(t)
		if took := time.Since(begun); took > 80*time.Second {
			t.Errorf("the background took %s", took)
		}
	})
}

// A part of a blob is served while the blob waits for its turn.
func TestPartOfABlobThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		cachetest.Pace(fake, mebibyte)
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Limits.MaxFills = 1 })
		refs, contents := blobs(t, fake, 2, 20*mebibyte)
		for i := range refs {
			content, err := f.Open(t.Context(), refs[i])
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = content.Close() }()
			if i == 0 {
				continue
			}
			begun := time.Now()
			for _, part := range []oci.Span{{Begin: 0, End: 2}, {Begin: 20*mebibyte - 10, End: 20 * mebibyte}} {
				got, _, err := readParts(t.Context(), f, refs[i], part)
				if took := time.Since(begun); err != nil || !bytes.Equal(got[0], contents[i][part.Begin:part.End]) || took > time.Second {
					t.Errorf("part %+v is %q after %s, %v", part, got, took, err)
				}
			}
		}
		<-time.After(time.Minute)
	})
}

// A client whose response has begun while its blob was waiting gets the bytes from the
// upstream when there is no space once the turn comes.
func TestNoSpaceWhenTheTurnComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		cachetest.Pace(fake, mebibyte)
		f := start(t, fake, budget(25*mebibyte), func(o *cachetest.Options) { o.Cache.Limits.MaxFills = 1 })
		refs, contents := blobs(t, fake, 3, 20*mebibyte)
		first, err := f.Open(t.Context(), refs[0])
		if err != nil {
			t.Fatal(err)
		}
		f.MustRead(t, refs[1], contents[1], oci.Fill) // its result came before it was known
		if err := first.Close(); err != nil {
			t.Error(err)
		}
		f.MustRead(t, refs[2], contents[2], oci.Fill)
		f.Settled(t)
		if s := f.Stats(); s.Fills != 0 || s.Reserved != 0 || s.Bytes != 20*mebibyte {
			t.Errorf("left behind: %+v", s)
		}
	})
}

// The response to a client that waits for a turn begins before containerd gives up.
func TestThirtyThirdBlobIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, _ := blobs(t, fake, 33, 1<<20)
		cachetest.Pace(fake, 16<<10) // 64 s each
		f := start(t, fake)
		for _, ref := range refs[:32] {
			c, err := f.Open(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close() // the clients leave
		}
		begun := time.Now()
		c, err := f.Open(t.Context(), refs[32])
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("response after %s; containerd gives up after 30 s", took)
		}
	})
}
