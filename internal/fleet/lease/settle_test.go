package lease_test

import (
	"testing"
	"time"

	"mirrord/internal/fleet/lease"
)

// TestSettled finds for how long a lease is held: while content is fetched or uploaded,
// however long that takes, and not when nothing comes of it.
func TestSettled(t *testing.T) {
	advance := func(step func(minute int64)) {
		for minute := range int64(60) {
			time.Sleep(time.Minute)
			step(minute)
		}
	}
	for name, test := range map[string]struct {
		then  func(f *fleet, held *lease.Lease)
		after time.Duration
		held  int
	}{
		"is fetched for an hour": {func(_ *fleet, held *lease.Lease) {
			advance(func(minute int64) { held.Progress(minute, 1000) })
		}, 14 * time.Minute, 1},
		"hangs": {func(_ *fleet, held *lease.Lease) { held.Progress(1, 1000) }, 16 * time.Minute, 0},
		"is uploaded for an hour": {func(f *fleet, held *lease.Lease) {
			held.Fetched()
			f.nodes[0].Keep(digest)
			advance(func(int64) { f.nodes[0].Keep(digest) })
		}, 14 * time.Minute, 1},
		"waits to be uploaded": {func(f *fleet, held *lease.Lease) {
			f.nodes[0].Keep(digest)
			held.Fetched()
		}, 14 * time.Minute, 1},
		"is not stored": {func(_ *fleet, held *lease.Lease) { held.Fetched() }, 65 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, 1, func(f *fleet) {
				held, _ := f.acquire(f.nodes[0], "holder")
				test.then(f, held)
				time.Sleep(test.after)
				if n := len(f.nodes[0].Held()); n != test.held {
					f.Errorf("holds %d, want %d", n, test.held)
				}
			})
		})
	}
}
