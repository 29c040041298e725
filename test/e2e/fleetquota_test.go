//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mirrord/internal/hubsim"
)

const (
	quotaLimit  = 20
	quotaImages = 30
	quotaAtOnce = 3 // pulls of each mirror
)

// askers are clients that want images that nobody has, more than the hub allows.
type askers struct {
	t       *testing.T
	mirrors []*mirror

	mu           sync.Mutex // guards the rest
	got, refused int
}

// ask wants an image from one of the mirrors: it gets it, or is told when to ask again.
func (a *askers) ask(i int) {
	resp, err := http.Get(fmt.Sprintf("%s/v2/library/quota%d/manifests/v1", a.mirrors[i%len(a.mirrors)].url(), i))
	if err != nil {
		a.t.Error(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil && resp.StatusCode == http.StatusOK:
		a.got++
	case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		a.refused++
	default:
		a.t.Errorf("%s: %s %s, %v", resp.Request.URL, resp.Status, body, err)
	}
}

// askAll wants all images but the first, a few at once.
func (a *askers) askAll() {
	turns := make(chan struct{}, len(a.mirrors)*quotaAtOnce)
	var all sync.WaitGroup
	for i := range quotaImages - 1 {
		turns <- struct{}{}
		all.Go(func() {
			a.ask(i + 1)
			<-turns
		})
	}
	all.Wait()
}

// startAskers returns clients of two mirrors that know of the limit of the hub. They reach the
// bucket through front.
func startAskers(t *testing.T, hub *hubsim.Hub, front *slowDown) *askers {
	t.Helper()
	store := startStore(t)
	reached := store.behind(t, front)
	a := &askers{t: t, mirrors: []*mirror{startSharing(t, hub, reached), startSharing(t, hub, reached)}}
	for i := range quotaImages {
		publishOne(t, hub, fmt.Sprint("quota", i), uint64(i+1))
	}
	a.ask(0)
	a.mirrors[0].process.await(t, time.Minute, func() bool {
		budgets, err := filepath.Glob(store.home.path("data", storeBucket, "office", "v1", "q", "*"))
		return err == nil && len(budgets) == 1
	})
	return a
}

// check checks that the hub counted what clients got, and returns what it had to refuse and
// how many pulls were decided without the bucket.
func (a *askers) check(hub *hubsim.Hub) (refused, alone int) {
	a.t.Helper()
	n := hub.Counters()
	alone = sum(a.t, "mirrord_fleet_budget_pulls_total", `result="alone"`, a.mirrors...)
	a.t.Logf("clients: %d got one, %d were refused; hub: %d counted, %d refused; %d were decided without the bucket", a.got, a.refused, n.ManifestGETs, n.Refused, alone)
	if a.got+a.refused != quotaImages || a.got != n.ManifestGETs {
		a.t.Errorf("the hub counted %d pulls, and %d of %d clients got one", n.ManifestGETs, a.got, quotaImages)
	}
	if most := len(a.mirrors) * (1 + quotaAtOnce); n.Refused > most {
		a.t.Errorf("the hub had to refuse %d pulls, want %d at most", n.Refused, most)
	}
	return n.Refused, alone
}

// The clients of two mirrors want more new images than the hub allows both together, and two
// of the pulls take their time. The hub counts all that it allows, and the mirrors refuse the
// others by themselves: as long as the bucket answers in time the hub has to refuse none.
func TestFleetQuota(t *testing.T) {
	hub := startLimited(t, quotaLimit)
	a := startAskers(t, hub, new(slowDown))
	for _, slow := range []string{"quota1/", "quota3/"} {
		hub.Inject(hubsim.Fault{Op: "manifest", Match: slow, Latency: 3 * time.Second, Times: 1})
	}
	a.askAll()
	switch refused, alone := a.check(hub); {
	case refused > alone:
		t.Errorf("the hub had to refuse %d pulls, and %d were decided without the bucket", refused, alone)
	case alone == 0 && a.got != quotaLimit:
		t.Errorf("clients got %d of %d pulls", a.got, quotaLimit)
	}
}

// While the bucket fails each mirror goes by what the hub tells it, and is refused what was in
// flight when the other one had the last pull, and no more.
func TestFleetQuotaAlone(t *testing.T) {
	hub, front := startLimited(t, quotaLimit), new(slowDown)
	a := startAskers(t, hub, front)
	front.on.Store(true)
	a.askAll()
	if _, alone := a.check(hub); alone == 0 || a.got != quotaLimit {
		t.Errorf("clients got %d of %d pulls, and %d were decided without the bucket", a.got, quotaLimit, alone)
	}
}
