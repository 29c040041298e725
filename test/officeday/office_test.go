package officeday

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// The office: each day 200 clients pull 10 images each, at random times from nine to
// six, out of 500 images of which few are popular. Every third image has a tag that
// moves three times a day on average; the tags of the others never move.
const (
	days    = 2
	clients = 200
	pulls   = 10 // by each client per day
	images  = 500
	popular = 1.1 // the exponent of the zipf distribution
	moving  = 3   // every third tag moves,
	moves   = 3   // this often per day

	opens = 9 * time.Hour
	shuts = 18 * time.Hour
	day   = 24 * time.Hour
	seed  = 20261124
)

// event is a client's pull of an image, or a move of its tag.
type event struct {
	at    time.Duration // since the first midnight
	image int
	move  bool
}

// calendar returns the events in order, the same on each call.
func calendar() []event {
	random := rand.New(rand.NewPCG(seed, 1))
	zipf := rand.NewZipf(random, popular, 1, images-1)
	var events []event
	for d := range days {
		midnight := time.Duration(d) * day
		for range clients * pulls {
			at := midnight + opens + time.Duration(random.Int64N(int64(shuts-opens)))
			events = append(events, event{at: at, image: int(zipf.Uint64())})
		}
		for i := 0; i < images; i += moving {
			for range moves {
				events = append(events, event{at: midnight + time.Duration(random.Int64N(int64(day))), image: i, move: true})
			}
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return int(a.at - b.at) })
	return events
}

// office is the images of the office at a hub.
type office struct {
	hub      *hubsim.Hub
	children map[oci.Digest]oci.Digest // by index: its manifest for the platform of the clients
	builds   []int
}

func newOffice(hub *hubsim.Hub) *office {
	o := &office{hub: hub, children: make(map[oci.Digest]oci.Digest), builds: make([]int, images)}
	for i := range images {
		o.publish(i)
	}
	return o
}

func repository(i int) string { return fmt.Sprintf("corp/app%d", i) }

const tag = "stable"

// publish publishes the next build of an image: an index with one manifest.
func (o *office) publish(i int) {
	name := repository(i)
	child := o.hub.AddManifest(name, "", string(types.OCIManifestSchema1), fmt.Appendf(nil, `{"schemaVersion":2,"n":%d,"build":%d}`, i, o.builds[i]))
	index := o.hub.AddManifest(name, tag, string(types.OCIImageIndex), fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"digest":%q}]}`, child))
	o.children[index] = child
	o.builds[i]++
}

// result is the outcome of two days.
type result struct {
	pulls     int
	failedNew int // pulls of images that no client had pulled before
	failedOld int // pulls of images that a client had pulled before
	stale     int
	counted   int // manifest GETs that the hub has counted
	refused   int // requests that it has refused
}

func (r result) row(limit int, policy string) string {
	share := func(n int) string { return fmt.Sprintf("%.0f", 1000*float64(n)/float64(r.pulls)) }
	return "| " + strings.Join([]string{
		fmt.Sprint(limit), policy, share(r.counted), share(r.failedNew), share(r.failedOld), share(r.stale), fmt.Sprint(r.refused),
	}, " | ") + " |"
}
