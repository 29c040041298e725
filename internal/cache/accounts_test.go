package cache_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// fickle occasionally breaks off, stalls or sends wrong bytes.
func fickle(random *rand.Rand, mu *sync.Mutex) func(oci.Ref, io.ReadSeeker) io.Reader {
	return func(_ oci.Ref, body io.ReadSeeker) io.Reader {
		mu.Lock()
		defer mu.Unlock()
		body = cachetest.Slow(body, 50_000+random.IntN(400_000))
		switch random.IntN(8) {
		case 0, 1, 2:
			return &broken{ReadSeeker: body, left: random.Int64N(100_000), from: func(int64) {}}
		case 3:
			return &spoilt{ReadSeeker: body, at: random.Int64N(50_000)}
		}
		return body
	}
}

// Whatever clients and upstreams do, no response is wrong, the disk never has more
// than the limit, and in the end all bytes are accounted for.
func TestAccounts(t *testing.T) {
	const most = 1_000_000
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			random, mu := rand.New(rand.NewPCG(seed, 0)), new(sync.Mutex)
			fake := new(ocitest.Fake)
			var refs []oci.Ref
			contents := make(map[oci.Ref][]byte)
			for i := range 12 {
				img := newImage(t, fake, byte(10*i), 5000+i, 3, 20_000+random.IntN(300_000))
				for ref, content := range img.contents {
					refs, contents[ref] = append(refs, ref), content
				}
			}
			fake.Wrap(fickle(random, mu))
			f := start(t, fake, budget(most), func(o *cachetest.Options) {
				o.Cache.Store = slowRemove{o.Cache.Store}
				o.Cache.Limits.MaxFills = 4
			})
			client := func(id byte) {
				own := rand.New(rand.NewPCG(seed, uint64(id)))
				for range 40 {
					ref := refs[own.IntN(len(refs))]
					if own.IntN(4) == 0 && ref.Kind() == oci.Blob {
						ref = elsewhere(t, ref)
					}
					ctx, leave := context.WithTimeout(clientContext(t, id), time.Duration(own.IntN(8000))*time.Millisecond)
					got, _, err := ocitest.Read(ctx, f, ref)
					leave()
					if want := contents[ocitestRef(t, ref)]; err == nil && !bytes.Equal(got, want) {
						t.Errorf("%s: %d wrong bytes of %d", ref, len(got), len(want))
					}
					if own.IntN(10) == 0 {
						_ = os.Remove(f.place(ref))
					}
					<-time.After(time.Duration(own.IntN(500)) * time.Millisecond)
				}
			}
			var clients sync.WaitGroup
			for id := range byte(8) {
				clients.Go(func() { client(id) })
			}
			served := make(chan struct{})
			go func() { clients.Wait(); close(served) }()
			for over := false; !over; {
				select {
				case <-served:
					over = true
				case <-time.After(50 * time.Millisecond):
				}
				synctest.Wait()
				if n := f.onDisk(t); n > most {
					t.Errorf("%d bytes on the disk, %d allowed", n, most)
				}
			}
			<-time.After(10 * time.Minute) // what was handed over is closed, what is left behind is old
			if err := f.Cache.CheckAccounts(); err != nil {
				t.Error(err)
			}
			<-time.After(time.Hour)
			if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if s := f.Stats(); s.Evictions == 0 || s.Failed == 0 || s.Joined == 0 || f.onDisk(t) > s.Bytes {
				t.Errorf("%d bytes are on the disk; %+v", f.onDisk(t), s)
			}
		})
	}
}

// A blob that was stored although Put failed, or whose digest already had a file,
// leaves no bytes that are not counted.
func TestFailedPutLeavesNothing(t *testing.T) {
	for _, applied := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			fake := new(ocitest.Fake)
			refs, contents := blobs(t, fake, 1, 100_000)
			b := new(breakage)
			f := start(t, fake, func(o *cachetest.Options) { o.Cache.Store = brokenStore{o.Cache.Store, b} })
			b.set("Store.Put", applied)
			f.MustRead(t, refs[0], contents[0], oci.Fill)
			f.Settled(t)
			synctest.Wait() // the file is removed behind that
			if n := f.onDisk(t); n != 0 || f.Stats().Bytes != 0 {
				t.Errorf("%d bytes are on the disk, %d counted", n, f.Stats().Bytes)
			}
			if err := f.Cache.CheckAccounts(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A file that could not be stored is removed, and is counted until its readers have
// closed it.
func TestFailedPutCountsWhileItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, _ := blobs(t, fake, 1, 100_000)
		b := new(breakage)
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Store = brokenStore{o.Cache.Store, b} })
		b.set("Store.Put", false)
		content, err := f.Open(t.Context(), refs[0])
		if err != nil {
			t.Fatal(err)
		}
		f.Settled(t)
		if err := f.Cache.CheckAccounts(); err == nil || !strings.Contains(err.Error(), "open 100000") {
			t.Errorf("while it is read: %v", err)
		}
		if err := content.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Cache.CheckAccounts(); err != nil {
			t.Error(err)
		}
	})
}

// ocitestRef is ref at the upstream that it was made for.
func ocitestRef(t *testing.T, ref oci.Ref) oci.Ref {
	t.Helper()
	if ref.Kind() != oci.Blob {
		return ref
	}
	return ocitest.BlobRef(t, ref.Digest())
}
