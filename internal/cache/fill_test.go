package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

const mebibyte = 1 << 20

// 50 clients of one cold blob behind a slow line cause one fetch, and each has its last
// byte no later than a tenth of the time of the fetch after the upstream sent it.
func TestManyClientsOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(4*mebibyte, 1)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		cachetest.Pace(fake, mebibyte)
		f := start(t, fake)
		begun := time.Now()
		var clients sync.WaitGroup
		for range 50 {
			clients.Go(func() {
				got, _, err := ocitest.Read(t.Context(), f, ref)
				if err != nil || !bytes.Equal(got, blob) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if took := time.Since(begun); took > 4400*time.Millisecond {
					t.Errorf("last byte after %s, the upstream takes 4 s", took)
				}
			})
		}
		clients.Wait()
		if n := fake.Calls("Open", ref.Reference()); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
		if s := f.Stats(); s.Joined != 49 {
			t.Errorf("%d joined, want 49", s.Joined)
		}
	})
}

// The response begins before the content has arrived: containerd gives up without a header.
func TestResponseBeforeContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, ocitest.Content(mebibyte, 1)))
		cachetest.Pace(fake, 1024)
		f := start(t, fake)
		begun := time.Now()
		content, err := f.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = content.Close() }()
		if took := time.Since(begun); took > 0 || content.Size != mebibyte {
			t.Errorf("response of %d bytes after %s", content.Size, took)
		}
	})
}

func TestStalledClientDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(2*mebibyte, 2)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		cachetest.Pace(fake, mebibyte)
		f := start(t, fake)
		silent, err := f.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		f.MustRead(t, ref, blob, oci.Fill)
		if took := time.Since(begun); took > 2200*time.Millisecond {
			t.Errorf("took %s while another client did not read", took)
		}
		f.Settled(t)
		got, err := io.ReadAll(silent.Body) // it resumes when the fill has ended
		if err = errors.Join(err, silent.Close()); err != nil || !bytes.Equal(got, blob) {
			t.Errorf("the stalled client got %d bytes, %v", len(got), err)
		}
	})
}

func TestFillOutlivesItsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(2*mebibyte, 3)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		cachetest.Pace(fake, mebibyte)
		f := start(t, fake)
		ctx, leave := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer leave()
		var second sync.WaitGroup
		second.Go(func() { f.MustRead(t, ref, blob, oci.Fill) })
		got, _, err := ocitest.Read(ctx, f, ref)
		if !errors.Is(err, context.DeadlineExceeded) || len(got) == 0 || len(got) == len(blob) {
			t.Errorf("the client that leaves: %d bytes, %v", len(got), err)
		}
		second.Wait()
		f.Settled(t)
		f.MustRead(t, ref, blob, oci.Hit)
		if n := fake.Calls("Open", ref.Reference()); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

// A part at the end of a cold blob does not wait for the bytes before it.
func TestTailRangeWhileCold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		const size = 8 * mebibyte
		blob := ocitest.Content(size, 4)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		cachetest.Pace(fake, mebibyte)
		f := start(t, fake)
		begun := time.Now()
		got, via, err := readParts(t.Context(), f, ref, oci.Span{Begin: size - 1000, End: size})
		if err != nil || !bytes.Equal(got[0], blob[size-1000:]) || via != oci.Pass {
			t.Errorf("%d bytes, via %s, %v", len(got), via, err)
		}
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("the tail took %s, the whole takes 8 s", took)
		}
		f.Settled(t)
		f.MustRead(t, ref, blob, oci.Hit) // the fill continued
	})
}

// A range just ahead of the fill waits for it: no second request is made.
func TestNearRangeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(2*mebibyte, 5)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		cachetest.Pace(fake, mebibyte)
		f := start(t, fake)
		content, err := f.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = content.Close() }()
		body := content.Body.(io.ReadSeeker)
		if _, err := body.Seek(100<<10, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 10)
		if _, err := io.ReadFull(body, got); err != nil || !bytes.Equal(got, blob[100<<10:100<<10+10]) {
			t.Errorf("%x, %v", got, err)
		}
		if n := fake.Calls("Open", ref.Reference()); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

func TestUnknownSize(t *testing.T) {
	fake := new(ocitest.Fake)
	blob := ocitest.Content(mebibyte, 9)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
	fake.HideSize()
	f := start(t, fake)
	var clients sync.WaitGroup
	for range 5 {
		clients.Go(func() {
			got, result, err := ocitest.Read(t.Context(), f, ref)
			if err != nil || !bytes.Equal(got, blob) || result.Size != mebibyte {
				t.Errorf("%d bytes, %+v, %v", len(got), result, err)
			}
		})
	}
	clients.Wait()
	f.MustRead(t, ref, blob, oci.Hit)
	if n := fake.Calls("Open", ref.Reference()); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

// A refusal for one repository does not affect another that requests the same digest.
func TestRefusalOfAnotherRepository(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(1000, 10)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		fake.AddBlob("team/other", nil)
		other, err := oci.ParseBlob(ocitest.Upstream, "team/other", ref.Reference())
		if err != nil {
			t.Fatal(err)
		}
		fake.Fail(func(ocitest.Call) error { <-time.After(time.Second); return nil })
		f := start(t, fake)
		var refused sync.WaitGroup
		refused.Go(func() {
			if _, _, err := ocitest.Read(t.Context(), f, other); oci.CodeOf(err) != oci.BlobUnknown {
				t.Errorf("%v, want BLOB_UNKNOWN", err)
			}
		})
		synctest.Wait() // the refused client has started the flight
		f.MustRead(t, ref, blob, oci.Fill)
		refused.Wait()
	})
}

// No more than MaxFills fills run at once; the others wait for their turn.
func TestFillsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		cachetest.Pace(fake, mebibyte)
		f := start(t, fake)
		var clients sync.WaitGroup
		begun := time.Now()
		for i := range 40 {
			blob := ocitest.Content(mebibyte, byte(i))
			ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
			clients.Go(func() { f.MustRead(t, ref, blob, oci.Fill) })
		}
		synctest.Wait()
		raw := cachetest.Put(fake, "v1", 1)
		f.MustRead(t, ocitest.ManifestRef(t, "v1"), raw, oci.Fill)
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("a manifest took %s behind the layers", took)
		}
		clients.Wait()
		if took := time.Since(begun).Round(100 * time.Millisecond); took != 2*time.Second {
			t.Errorf("40 fills of a second each took %s, want 2s with 32 at once", took)
		}
	})
}

func TestShutDownEndsFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, ocitest.Content(mebibyte, 11)))
		f := start(t, fake, func(o *cachetest.Options) {
			o.Cache.Next = stuck{fake}
			o.Cache.Hooks.FillFailed = func(_ oci.Ref, err error) { t.Errorf("the shutdown is reported as a failure: %v", err) }
		})
		content, err := f.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		f.Stop()
		if _, err := io.ReadAll(content.Body); err == nil {
			t.Error("a fill that was cancelled completed")
		}
		if err := content.Close(); err != nil {
			t.Error(err)
		}
		if _, err := f.Open(t.Context(), ref); !oci.Temporary(err) {
			t.Errorf("open after the shutdown: %v", err)
		}
	})
}
