package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mirrord/internal/hubsim"
)

// crash is a mirror that is killed again and again under load.
type crash struct {
	t       *testing.T
	rand    *rand.Rand
	mirror  *process
	flags   []string // of the mirror
	catalog *catalog
	crowd   *crowd

	parts, resumed int // unfinished fills found after a kill, and resumed
	purged         int // purges that ended before the kill
}

const (
	crashClients = 8
	crashBudget  = 10 << 20 // a third of the images
)

// TestCrash kills the mirror at random moments under load. Whatever the moment, no
// complete answer has a wrong byte, every file hashes to its name, and the next
// start needs no help. CRASH_SEED and CRASH_ROUNDS are for a longer run, or for
// the same again, as far as time allows.
func TestCrash(t *testing.T) {
	seed := setting(t, "CRASH_SEED", rand.Uint64())
	rounds := setting(t, "CRASH_ROUNDS", 20)
	t.Logf("CRASH_SEED=%d CRASH_ROUNDS=%d", seed, rounds)
	c := newCrash(t, seed, newCrashCatalog(t))
	c.serve(crashClients, seed)
	for round := range rounds {
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
		c.round()
	}
	c.finish()
}

// setting is a number from the environment.
func setting(t *testing.T, name string, standard uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// newCrashCatalog has a Docker Hub so slow that a kill hits a fill.
func newCrashCatalog(t *testing.T) *catalog {
	t.Helper()
	c := newCatalog(t)
	c.addLayers(t, "library/small", 2, 40_000, 1)
	c.addLayers(t, "library/moving", 2, 300_000, 5, 6, 7, 8)
	c.addLayers(t, "library/base", 2, 3<<19, 2)
	c.addLayers(t, "library/derived", 4, 3<<19, 2)
	c.addLayers(t, "library/large", 3, 3<<20, 3)
	c.addLayers(t, "library/huge", 1, 5<<20, 4)
	c.hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: 6 << 20})
	return c
}

// newCrash returns a mirror that does not run yet, with flags in addition to the usual ones.
func newCrash(t *testing.T, seed uint64, images *catalog, flags ...string) *crash {
	t.Helper()
	c := &crash{t: t, rand: rand.New(rand.NewPCG(seed, 0)), mirror: newMirror(t), catalog: images}
	c.flags = append(flags, images.upstream(), "--cache-max-size="+strconv.Itoa(crashBudget))
	c.crowd = newCrowd(t, images, c.mirror.mirror)
	return c
}

// serve starts the mirror, and clients of it until the test ends.
func (c *crash) serve(clients int, seed uint64) {
	c.t.Helper()
	c.start()
	ctx, stop := context.WithCancel(c.t.Context())
	c.t.Cleanup(c.crowd.clients.Wait)
	c.t.Cleanup(stop)
	c.crowd.start(ctx, clients, seed)
}

// start starts the mirror and waits until it serves.
func (c *crash) start() {
	c.t.Helper()
	check(c.t, c.mirror.serve(c.flags...))
	c.crowd.life.Add(1)
}

// within lets a random time pass.
func (c *crash) within(most time.Duration) {
	pause(c.t.Context(), time.Duration(c.rand.Int64N(int64(most))))
}

// round lets the mirror live for a while and kills it: in the midst of its work,
// in its drain, in its start or in a purge.
func (c *crash) round() {
	c.t.Helper()
	way := c.rand.IntN(6)
	c.within(700 * time.Millisecond)
	c.crowd.life.Add(1)
	switch way {
	case 0: // the drain
		c.mirror.signal(terminate)
		c.within(50 * time.Millisecond)
	case 2, 3: // a purge of all
		defer c.purge()()
		c.within(150 * time.Millisecond)
	}
	c.kill()
	if way == 1 { // the start
		check(c.t, c.mirror.start(c.flags...))
		c.within(150 * time.Millisecond)
		c.kill()
	}
	c.start()
	for _, img := range c.catalog.images[:2] { // the small ones
		if err := c.crowd.pull(img); err != nil {
			c.t.Errorf("right after a start: %v", err)
		}
	}
}

// purge begins to remove all images from the mirror, which will be killed: ended waits for
// the response.
func (c *crash) purge() (ended func()) {
	var purge sync.WaitGroup
	token, err := os.ReadFile(filepath.Join(c.mirror.cache, "admin-token"))
	check(c.t, err)
	purge.Go(func() {
		status, body, err := c.mirror.askAs(http.MethodPost, "/v1/purge?pattern=**", strings.TrimSpace(string(token)))
		switch {
		case err != nil: // the kill
		case status == http.StatusOK:
			c.purged++
		case status != http.StatusBadRequest: // nothing is known yet
			c.t.Errorf("purge: %d %s", status, body)
		}
	})
	return purge.Wait
}

// kill kills the mirror and looks at what it leaves.
func (c *crash) kill() {
	c.t.Helper()
	c.mirror.kill()
	c.inspect()
}

// inspect checks what an ended process has left: its log and its directory.
func (c *crash) inspect() {
	c.t.Helper()
	c.inspectLog()
	found, err := takeStock(c.mirror.cache)
	if err != nil {
		c.t.Error(err)
	}
	c.parts += len(found.parts)
	for _, d := range slices.Concat(found.blobs, found.parts) {
		if _, known := c.catalog.blobs[d]; !known {
			c.t.Errorf("%s was never pulled", d)
		}
	}
	if found.bytes > crashBudget || found.indexes > 0 {
		c.t.Errorf("%d bytes of blobs and fills, %d allowed; %d indexes quarantined", found.bytes, crashBudget, found.indexes)
	}
}

var lostRE = regexp.MustCompile(`"lost":[1-9][0-9]*`)

// inspectLog looks for what a kill gives no reason for, and clears the log.
func (c *crash) inspectLog() {
	c.t.Helper()
	log := c.mirror.text()
	c.mirror.forgetLog()
	c.resumed += strings.Count(log, "fill resumed from a partial download")
	if lost := lostRE.FindString(log); lost != "" {
		c.t.Errorf("the index had records without files: %s", lost)
	}
	for _, sign := range []string{"panic: ", "panic serving", "fatal error", "DATA RACE", `"level":"error"`, "damaged"} {
		if i := strings.Index(log, sign); i >= 0 {
			c.t.Errorf("the log tells of %q:\n%.4000s", sign, log[max(0, i-200):])
		}
	}
}

// finish ends the mirror as a person does.
func (c *crash) finish() {
	c.t.Helper()
	c.end()
	if n := c.catalog.hub.Counters().RangeGETs; c.resumed == 0 || n == 0 {
		c.t.Errorf("%d fills went on where they had ended, by %d range requests", c.resumed, n)
	}
}

// end ends the mirror by a signal.
func (c *crash) end() {
	c.t.Helper()
	c.crowd.life.Add(1)
	if err := c.mirror.end(terminate); err != nil {
		c.t.Errorf("SIGTERM: %v\n%s", err, c.mirror.text())
	}
	c.inspect()
	c.t.Logf("%d answers were right, %d were cut, the longest took %.1f s; of %d unfinished fills %d went on; %d purges ended before the kill",
		c.crowd.right.Load(), c.crowd.broken.Load(), time.Duration(c.crowd.longest.Load()).Seconds(), c.parts, c.resumed, c.purged)
}
