package cache_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// clientContext returns a context for requests of that client.
func clientContext(t *testing.T, client byte) context.Context {
	return oci.WithClient(t.Context(), oci.Client{Address: netip.AddrFrom4([4]byte{192, 0, 2, client})})
}

// elsewhere returns ref at another upstream.
func elsewhere(t *testing.T, ref oci.Ref) oci.Ref {
	t.Helper()
	other, err := oci.ParseBlob("other.example", ref.Repository(), ref.Digest().String())
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// queue is a cache that fills one blob at a time, in a second each.
type queue struct {
	*fixture
	t    *testing.T
	refs []oci.Ref

	clients sync.WaitGroup
	mu      sync.Mutex
	order   []string // clients in the order in which they were served
}

func newQueue(t *testing.T, blobCount int) *queue {
	t.Helper()
	fake := new(ocitest.Fake)
	cachetest.Pace(fake, mebibyte)
	q := &queue{fixture: start(t, fake, func(o *cachetest.Options) { o.Cache.Limits.MaxFills = 1 }), t: t}
	for i := range blobCount {
		content := append(ocitest.Content(mebibyte-3, byte(i)), byte(i>>8), byte(i), 1)
		q.refs = append(q.refs, ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, content)))
	}
	return q
}

// read starts a client that reads ref, and returns when the client waits.
func (q *queue) read(ctx context.Context, name string, ref oci.Ref) {
	q.clients.Go(func() {
		if _, _, err := ocitest.Read(ctx, q, ref); err != nil {
			q.t.Errorf("%s: %v", name, err)
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		q.order = append(q.order, name)
	})
	synctest.Wait()
}

// want waits for all clients and checks the order in which they were served.
func (q *queue) want(want ...string) {
	q.t.Helper()
	q.clients.Wait()
	if !slices.Equal(q.order, want) {
		q.t.Errorf("served %q, want %q", q.order, want)
	}
	q.Settled(q.t)
}

// A blob whose clients have all left before its turn is not fetched and delays no
// other. A fill that has begun is completed.
func TestFillThatNobodyWaitsForIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 202)
		for _, ref := range q.refs[:200] {
			content, err := q.Open(clientContext(t, 1), ref)
			if err != nil {
				t.Fatal(err)
			}
			if err := content.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if n := q.Stats().Fills; n != 1 {
			t.Errorf("%d fills are left, want the one that runs", n)
		}
		begun := time.Now()
		q.read(clientContext(t, 2), "other", q.refs[201])
		q.want("other")
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("another client waited for %s", took)
		}
		if s := q.Stats(); s.Entries != 2 || s.Failed != 0 {
			t.Errorf("%+v, want the first and the last blob cached", s)
		}
		q.read(clientContext(t, 1), "again", q.refs[100]) // a dropped blob can be requested again
		q.want("other", "again")
	})
}

// This includes a client that leaves while its blob is still being opened.
func TestLeavingBeforeTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 3)
		q.read(clientContext(t, 1), "first", q.refs[0])
		q.Fake.Fail(func(ocitest.Call) error { <-time.After(100 * time.Millisecond); return nil })
		ctx, leave := context.WithCancel(clientContext(t, 1))
		gone := make(chan error)
		go func() {
			_, err := q.Open(ctx, q.refs[1])
			gone <- err
		}()
		synctest.Wait()
		leave()
		if err := <-gone; err == nil {
			t.Error("opened for a client that has left")
		}
		q.read(clientContext(t, 1), "second", q.refs[2])
		q.want("first", "second")
		if n := q.Stats().Entries; n != 2 {
			t.Errorf("%d blobs are cached, want 2", n)
		}
	})
}

// A fill is not dropped while a client still waits for it.
func TestFillStaysForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 2)
		q.read(clientContext(t, 1), "first", q.refs[0])
		content, err := q.Open(clientContext(t, 1), q.refs[1])
		if err != nil {
			t.Fatal(err)
		}
		q.read(clientContext(t, 2), "joined", q.refs[1])
		if err := content.Close(); err != nil {
			t.Error(err)
		}
		q.want("first", "joined")
		if n := q.Fake.Calls("Open", q.refs[1].Reference()); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

// A client with many requests does not delay another with few, nor does one upstream
// delay another, whichever client was the first to request a blob.
func TestTurnsAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 8)
		for i := range 4 {
			q.read(clientContext(t, 1), fmt.Sprint("much", i), q.refs[i])
		}
		q.read(clientContext(t, 1), "shared", q.refs[4])
		q.read(clientContext(t, 2), "little", q.refs[5])
		q.read(clientContext(t, 1), "upstream", elsewhere(t, q.refs[6]))
		q.read(clientContext(t, 3), "shared", q.refs[4])
		q.want("much0", "much1", "little", "upstream", "shared", "shared", "much2", "much3")
	})
}
