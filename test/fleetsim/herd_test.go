package fleetsim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"mirrord/internal/fleet"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// result is how a herd went.
type result struct {
	nodes     int
	heads     int // to the upstream
	counted   int // manifests that the upstream has counted
	fetched   map[string]int
	bytes     int64 // of blobs, from the upstream
	requests  map[string]int
	slowDowns int
	roles     map[fleet.Role]int
	took      []time.Duration // from the first client's request to the last byte of each
}

// pull pulls the image as containerd does.
func (w *world) pull(ctx context.Context, mirror *stack.Stack) error {
	if _, err := mirror.Registry.Resolve(ctx, w.img.tag); err != nil {
		return err
	}
	for _, ref := range []oci.Ref{w.img.index, w.img.manifest} {
		if err := w.read(ctx, mirror, ref); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, ref := range w.img.blobs {
		group.Go(func() error { return w.read(ctx, mirror, ref) })
	}
	return group.Wait()
}

func (w *world) read(ctx context.Context, mirror *stack.Stack, ref oci.Ref) error {
	got, _, err := ocitest.Read(ctx, mirror.Registry, ref)
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	return w.img.is(ref.Digest(), got)
}

// herd has the clients of all mirrors pull the image within arrivalTime.
func (w *world) herd(mirrors []*stack.Stack) result {
	w.t.Helper()
	r := result{nodes: len(mirrors), took: make([]time.Duration, len(mirrors))}
	random := rand.New(rand.NewPCG(uint64(len(mirrors)), 1))
	begun := time.Now()
	var all sync.WaitGroup
	for i, mirror := range mirrors {
		arrives := time.Duration(random.Int64N(int64(arrivalTime)))
		all.Go(func() {
			time.Sleep(arrives)
			if err := w.pull(w.t.Context(), mirror); err != nil {
				w.t.Errorf("client %d: %v", i, err)
			}
			r.took[i] = time.Since(begun)
		})
	}
	all.Wait()
	time.Sleep(time.Minute) // uploads and leases end
	slices.Sort(r.took)
	n := w.hub.Counters()
	r.heads, r.counted, r.fetched, r.bytes = n.ManifestHEADs, n.ManifestGETs, n.BlobGETsByDigest, n.CDNBytes
	r.requests, r.slowDowns = w.store.counts()
	r.roles = w.roles
	return r
}

// total is how many requests to the store there were.
func (r result) total() (n int) {
	for _, requests := range r.requests {
		n += requests
	}
	return n
}

// blobs is how many downloads of blobs the upstream has begun.
func (r result) blobs() (n int) {
	for _, downloads := range r.fetched {
		n += downloads
	}
	return n
}

// row is what docs/fleet.md says of the herd, without what differs from run to run.
func (r result) row(img *image) string {
	return fmt.Sprintf("| %d | %.2f | %d |", r.nodes, float64(r.bytes)/float64(img.blobBytes()), r.counted)
}

func (r result) log(t *testing.T, img *image) {
	t.Logf("%s HEADs %d, downloads %d of %d; requests a pull %.1f, refused %d; last byte: first %v, median %v, last %v; %v",
		r.row(img), r.heads, r.blobs(), len(img.blobs), float64(r.total())/float64(r.nodes), r.slowDowns,
		r.took[0].Round(100*time.Millisecond), r.took[len(r.took)/2].Round(100*time.Millisecond), r.took[len(r.took)-1].Round(100*time.Millisecond), r.roles)
	for _, kind := range slices.Sorted(maps.Keys(r.requests)) {
		t.Logf("    %-12s %7d  %.2f a pull", kind, r.requests[kind], float64(r.requests[kind])/float64(r.nodes))
	}
}

// run runs a herd of so many mirrors, on a store that refuses that share of the requests.
// spare is how many downloads and counted pulls there may be beyond one of each.
func run(t *testing.T, nodes int, refused float64, spare int, then func(t *testing.T, w *world, r result)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, refused)
		r := w.herd(w.startAll(nodes))
		r.log(t, w.img)
		if n := r.blobs(); n < len(w.img.blobs) || n > len(w.img.blobs)+spare {
			t.Errorf("%d downloads of %d blobs", n, len(w.img.blobs))
		}
		if r.counted < w.img.counted || r.counted > w.img.counted+spare {
			t.Errorf("%d pulls of %d manifests", r.counted, w.img.counted)
		}
		if each := float64(r.total()) / float64(nodes); each > maxRequests {
			t.Errorf("%.1f requests to the store for each pull, want %d at most", each, maxRequests)
		}
		if then != nil {
			then(t, w, r)
		}
	})
}

const maxRequests = 8 * (layers + 5) // for each pull of layers, large layer, config, two manifests, tag

// A fleet of any size fetches each blob once, and spends one pull for each manifest.
func TestHerd(t *testing.T) {
	page, err := os.ReadFile("../../docs/fleet.md")
	check(t, err)
	for _, nodes := range []int{1, 10, 100} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			run(t, nodes, 0, 0, func(t *testing.T, w *world, r result) {
				if row := r.row(w.img); !strings.Contains(string(page), row) {
					t.Errorf("docs/fleet.md does not have %q", row)
				}
				w.joinLate()
			})
		})
	}
}

// joinLate wants a mirror that comes after the herd to send one GET to the store for each
// object, and nothing to the upstream.
func (w *world) joinLate() {
	w.t.Helper()
	before, _ := w.store.counts()
	mirror := w.start("late")
	if err := w.pull(w.t.Context(), mirror); err != nil {
		w.t.Error(err)
	}
	after, _ := w.store.counts()
	objects := len(w.img.content)
	for kind, n := range after {
		want := map[string]int{"get content": objects, "get tag": 1}[kind]
		if n -= before[kind]; n != want {
			w.t.Errorf("a mirror that comes later sends %d times %s, want %d", n, kind, want)
		}
	}
}

// A store that wants fewer requests costs time, and hardly any request to the upstream.
func TestSlowDown(t *testing.T) {
	run(t, 10, 0.05, 1, nil)
}

// TestLarge is for figures: FLEET_SIM is the number of mirrors.
func TestLarge(t *testing.T) {
	nodes, err := strconv.Atoi(os.Getenv("FLEET_SIM"))
	if err != nil {
		t.Skip("takes minutes: run make fleet-sim")
	}
	run(t, nodes, 0, nodes/50, nil)
}
