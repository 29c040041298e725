package fleet

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/guard"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/lease"
	"mirrord/internal/fleet/sibling"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/stack"
)

// works has a mirror agree with others on who fetches what. There are no others.
func (w *world) works(o *stack.Options) {
	transport := &http.Transport{DialContext: w.network.DialContext}
	w.t.Cleanup(transport.CloseIdleConnections)
	o.Fleet.Work = &stack.FleetWork{
		Self: lease.Self{Node: "a", Boot: lease.NewBoot(), Addr: "a:5003"}, Bucket: guard.New(w.bucket, guard.Hooks{}),
		Siblings: sibling.NewClient(sibling.ClientOptions{Secret: o.Fleet.Secret, Node: "a", Transport: transport}),
		Ready:    func() bool { return true },
	}
}

// readBlob reads a blob of the public repository.
func (w *world) readBlob(mirror *stack.Stack, content []byte) {
	w.t.Helper()
	ref, err := oci.ParseBlob(registry, publicRepo, oci.FromBytes(content).String())
	check(w.t, err)
	_, _, err = ocitest.Read(w.t.Context(), mirror.Registry, ref)
	check(w.t, err)
}

// Leases that cannot be had in time do not have the bucket left alone for content.
func TestSlowLeases(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.bucket.Faults = func(op buckettest.Op, key string) buckettest.Fault {
			if op == buckettest.Put && strings.HasPrefix(key, keys.Leases) {
				return buckettest.Fault{Before: time.Hour}
			}
			return buckettest.Fault{}
		}
		mirror := w.start(w.works, func(o *stack.Options) {
			o.Fleet.Bucket = guard.New(w.bucket, guard.Hooks{Failing: func(err error) { t.Errorf("the bucket is left alone: %v", err) }})
		})
		var pulls sync.WaitGroup
		for i := range 8 {
			blob := ocitest.Content(1000, byte(i))
			w.hub.AddBlob(publicRepo, blob)
			pulls.Go(func() { w.readBlob(mirror, blob) })
		}
		pulls.Wait()
		synctest.Wait()
		if n := w.objects(keys.Blobs); n != 8 {
			t.Errorf("%d of 8 blobs were uploaded", n)
		}
	})
}

// What a mirror with a login has fetched of a public repository can be had from it by the
// others as soon as it is stored, whether or not it is in the bucket yet.
func TestLanded(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.bucket.Faults = func(op buckettest.Op, _ string) buckettest.Fault {
			if op == buckettest.Upload {
				return buckettest.Fault{Err: bucket.ErrFull}
			}
			return buckettest.Fault{}
		}
		w.hub.AddBlob(privateRepo, ocitest.Content(100_000, 2))
		w.hub.SetPrivate(privateRepo, account)
		mirror := w.start(w.withLogin, w.works)
		for i := range 2 { // it asks whether the repository is public for the first one alone
			blob := ocitest.Content(100_000, byte(3+i))
			w.hub.AddBlob(publicRepo, blob)
			w.readBlob(mirror, blob)
			synctest.Wait() // it is stored
			content, err := mirror.OpenForSibling(context.Background(), oci.FromBytes(blob))
			check(t, err)
			got, err := io.ReadAll(content.Body)
			if err != nil || len(got) != len(blob) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			check(t, content.Close())
		}
	})
}
