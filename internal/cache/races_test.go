package cache_test

import (
	"context"
	"io"
	"iter"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/tags"
	"mirrord/test/cachetest"
)

// slowPut stores a blob and takes a while to return, like an fsync.
type slowPut struct {
	cache.Store
	placed, goOn chan struct{}
	slow         atomic.Bool
}

func (s *slowPut) Put(ctx context.Context, d oci.Digest, f *os.File) error {
	err := s.Store.Put(ctx, d, f)
	if s.slow.Load() {
		s.placed <- struct{}{}
		<-s.goOn
	}
	return err
}

// The walk over the directory ignores a file whose fill is about to complete, although
// a full cache has no space for another one.
func TestWalkIgnoresFilesBeingStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 1, 100_000)
		s := &slowPut{placed: make(chan struct{}), goOn: make(chan struct{})}
		f := start(t, fake, budget(150_000), func(o *cachetest.Options) {
			s.Store = o.Cache.Store
			o.Cache.Store = s
			o.Cache.Limits.Scrub = time.Hour // an empty cache is walked every minute
			o.Cache.Hooks.Damaged = func(_ oci.Digest, err error) { t.Errorf("reported as damaged: %v", err) }
		})
		s.slow.Store(true)
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		<-s.placed
		<-time.After(2 * time.Minute)
		close(s.goOn)
		s.slow.Store(false)
		f.Settled(t)
		f.MustRead(t, refs[0], contents[0], oci.Hit)
	})
}

// eofStore's files return io.EOF with their last bytes, as io.Reader allows.
type eofStore struct{ cache.Store }

type eofBody struct {
	io.ReadSeekCloser
	io.Reader
}

func (b eofBody) Read(p []byte) (int, error) { return b.Reader.Read(p) }

func (s eofStore) Open(ctx context.Context, d oci.Digest) (io.ReadSeekCloser, error) {
	f, err := s.Store.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	return eofBody{f, iotest.DataErrReader(f)}, nil
}

func TestScrubOfDataWithEOF(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 1, 100_000)
		f := start(t, fake, func(o *cachetest.Options) {
			o.Cache.Store = eofStore{o.Cache.Store}
			o.Cache.Limits.Scrub = time.Hour
			o.Cache.Hooks.Damaged = func(_ oci.Digest, err error) { t.Errorf("reported as damaged: %v", err) }
		})
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		<-time.After(3 * time.Hour)
		if f.Stats().Scrubbed == 0 {
			t.Error("nothing was scrubbed")
		}
	})
}

// heldIndex delays one PutTags until it is released.
type heldIndex struct {
	*closedIndex
	hold          atomic.Bool
	reached, goOn chan struct{}
}

func (ix *heldIndex) PutTags(records ...tags.Record) error {
	if ix.hold.CompareAndSwap(true, false) {
		ix.reached <- struct{}{}
		<-ix.goOn
	}
	return ix.closedIndex.PutTags(records...)
}

// A tag that moves while the index catches up is not overwritten with its previous
// digest.
func TestCatchingUpWritesNoOlderTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag, raw := ocitest.ManifestRef(t, "v1"), cachetest.Put(fake, "v1", 1)
		f := start(t, fake)
		f.Stop()
		ix := &heldIndex{closedIndex: &closedIndex{Index: f.Index}, reached: make(chan struct{}), goOn: make(chan struct{})}
		f.Restart(t, cachetest.WithIndex(ix))
		ix.closed.Store(true)
		f.MustRead(t, tag, raw, oci.Fill)
		<-time.After(30 * time.Second)
		ix.closed.Store(false)
		ix.hold.Store(true)
		<-ix.reached // it is about to write the records it has collected
		moved := cachetest.Put(fake, "v1", 2)
		<-time.After(2 * time.Minute)
		f.MustRead(t, tag, moved, oci.Fill)
		synctest.Wait()
		close(ix.goOn)
		<-time.After(time.Minute)
		synctest.Wait()
		if got, want := ix.TagRecords[tag].Latest.Digest, oci.FromBytes(moved); got != want {
			t.Errorf("the index has %s, the memory %s", got, want)
		}
	})
}

// lateWalk delays the walk.
type lateWalk struct {
	cache.Store
	hold chan struct{}
}

func (s *lateWalk) All(ctx context.Context) iter.Seq2[cache.Blob, error] {
	return func(yield func(cache.Blob, error) bool) {
		<-s.hold
		s.Store.All(ctx)(yield)
	}
}

// A blob that is evicted during the walk over the directory is not reported as lost.
func TestEvictedIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 4, 100_000)
		f := start(t, fake)
		for i := range 2 {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
		}
		f.Stop()
		s := &lateWalk{hold: make(chan struct{})}
		reported := make(chan cache.Reconciliation, 1)
		f.Restart(t, budget(250_000), func(o *cachetest.Options) {
			s.Store = o.Cache.Store
			o.Cache.Store = s
			o.Cache.Hooks.Reconciled = func(r cache.Reconciliation, _ error) { reported <- r }
		})
		synctest.Wait()
		for i := 2; i < 4; i++ {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
		}
		close(s.hold)
		if r := <-reported; r.Lost != 0 || f.Stats().Evictions != 2 {
			t.Errorf("reported %+v after %d evictions", r, f.Stats().Evictions)
		}
	})
}

// slowOpen takes ten seconds to open a file.
type slowOpen struct{ cache.Store }

func (s slowOpen) Open(ctx context.Context, d oci.Digest) (io.ReadSeekCloser, error) {
	<-time.After(10 * time.Second)
	return s.Store.Open(ctx, d)
}

// A client that leaves while the file of its blob is being hashed causes no download.
func TestLeavingWhileAFileIsHashed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 1, 100_000)
		f := start(t, fake)
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.Stop()
		f.Index = cachetest.NewIndex()
		f.Restart(t, func(o *cachetest.Options) { o.Cache.Store = slowOpen{o.Cache.Store} })
		<-time.After(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Open(ctx, refs[0]); err == nil {
			t.Fatal("opened before it was hashed")
		}
		<-time.After(time.Minute)
		if n := fake.Calls("Open", refs[0].Reference()); n != 1 {
			t.Errorf("%d fetches, want only the first", n)
		}
	})
}

// slowRemove takes a second to remove a file.
type slowRemove struct{ cache.Store }

func (s slowRemove) Remove(ctx context.Context, d oci.Digest) error {
	<-time.After(time.Second)
	return s.Store.Remove(ctx, d)
}

// A blob that is fetched again while its file is being removed has the new file, and the
// walk over the directory does not adopt a file that is being removed.
func TestFetchedAgainWhileItIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 2, 100_000)
		f := start(t, fake, budget(150_000), func(o *cachetest.Options) {
			o.Cache.Store = slowRemove{o.Cache.Store}
			o.Cache.Hooks.Damaged = func(_ oci.Digest, err error) { t.Errorf("reported as damaged: %v", err) }
		})
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.Settled(t)
		go func() { _, _, _ = ocitest.Read(t.Context(), f, refs[1]) }() // evicts it
		<-time.After(500 * time.Millisecond)
		if found, err := f.Cache.Verify(t.Context(), cache.VerifyOptions{Repair: true}, func(cache.Findings, *cache.Fault) {}); err != nil || f.Stats().Entries != 0 {
			t.Errorf("found %+v, %v; %d entries for a file that is being removed", found, err, f.Stats().Entries)
		}
		_, _, _ = ocitest.Read(t.Context(), f, refs[0])
		f.Settled(t)
		<-time.After(time.Minute)
		for _, ref := range refs {
			if result, err := f.Resolve(t.Context(), ref); err == nil && result.Via == oci.Hit {
				f.MustRead(t, ref, contents[map[bool]int{true: 1}[ref == refs[1]]], oci.Hit)
			}
		}
	})
}

// The scrub reads no faster than 16 MiB a second, and hashes files that were never
// verified first.
func TestPaceOfTheScrub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 4, 16*mebibyte)
		f := start(t, fake)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
		}
		f.Stop()
		f.Index = cachetest.NewIndex()
		f.Restart(t, func(o *cachetest.Options) { o.Cache.Limits.Scrub = 7 * 24 * time.Hour })
		<-time.After(3 * time.Second)
		if n := f.Stats().Scrubbed; n < 2 || n > 3 {
			t.Errorf("%d blobs of 16 MiB are hashed after 3 s", n)
		}
		<-time.After(2 * time.Second)
		if n := f.Stats().Scrubbed; n != 4 {
			t.Errorf("%d of 4 unverified blobs are hashed after 5 s", n)
		}
	})
}

// idler counts the calls of Idle.
type idler struct {
	cachetest.Paced
	idles *atomic.Int32
}

func (i idler) Idle() { i.idles.Add(1) }

func (i idler) Close() error { return nil }

// idling is a Registry with such bodies.
type idling struct {
	*ocitest.Fake
	idles atomic.Int32
}

func (i *idling) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	content, err := i.Fake.Open(ctx, ref)
	if err == nil {
		content.Body = oci.Verify(idler{cachetest.Slow(content.Body.(io.ReadSeeker), mebibyte), &i.idles}, content.Descriptor)
	}
	return content, err
}

// A fill that waits long for its turn releases its connection, once; one that waits
// for a moment does not.
func TestQueuedFillReleasesItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &idling{Fake: new(ocitest.Fake)}
		f := start(t, next.Fake, func(o *cachetest.Options) { o.Cache.Next, o.Cache.Limits.MaxFills = next, 1 })
		for size, want := range map[int]int32{2 * mebibyte: 0, 9 * mebibyte: 1} {
			next.idles.Store(0)
			refs, contents := blobs(t, next.Fake, 2, size)
			var clients sync.WaitGroup
			for i := range refs {
				clients.Go(func() { f.MustRead(t, refs[i], contents[i], oci.Fill) })
				synctest.Wait()
			}
			clients.Wait()
			f.Settled(t)
			if n := next.idles.Load(); n != want {
				t.Errorf("behind %d MiB at 1 MiB a second it was released %d times, want %d", size>>20, n, want)
			}
		}
	})
}

// partWalk fails to read a part of the directory.
type partWalk struct{ cache.Store }

func (s partWalk) All(ctx context.Context) iter.Seq2[cache.Blob, error] {
	return func(yield func(cache.Blob, error) bool) { yield(cache.Blob{}, os.ErrPermission) }
}

// countingOpen counts the files that are opened.
type countingOpen struct {
	cache.Store
	opened *atomic.Int32
}

func (s countingOpen) Open(ctx context.Context, d oci.Digest) (io.ReadSeekCloser, error) {
	s.opened.Add(1)
	return s.Store.Open(ctx, d)
}

// Blobs in a directory that the walk could not read are not looked up one by one.
func TestWalkThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 3, 1000)
		f := start(t, fake)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
		}
		f.Stop()
		var opened atomic.Int32
		f.Restart(t, func(o *cachetest.Options) { o.Cache.Store = countingOpen{partWalk{o.Cache.Store}, &opened} })
		synctest.Wait()
		if opened.Load() != 0 || f.Stats().Entries != 3 {
			t.Errorf("%d files opened, %d of 3 blobs cached", opened.Load(), f.Stats().Entries)
		}
	})
}
