package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/login"
	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
)

// pooled is a Pool over a hub: its members are called like its users, and
// anonymous.
type pooled struct {
	*Pool
	ledger *ratelimit.Ledger
	dir    string // of the password files

	mu     sync.Mutex
	events []string
}

// pool makes one. The hub is asked without a network, so that it is usable in a
// bubble.
func pool(t *testing.T, h *hubsim.Hub, members ...string) *pooled {
	t.Helper()
	return poolBy(t, h, h.Transport(), members...)
}

func poolBy(t *testing.T, h *hubsim.Hub, transport http.RoundTripper, members ...string) *pooled {
	t.Helper()
	u, err := url.Parse(h.URL())
	check(t, err)
	p := &pooled{ledger: ratelimit.NewLedger(nil), dir: t.TempDir()}
	o := PoolOptions{
		Name:          oci.DockerHub,
		Reserve:       func(limit int) int { return (limit + 9) / 10 },
		LoginDisabled: func(member string, _ error, _ time.Time) { p.note("aside " + member) },
		LoginRestored: func(member string) { p.note("back " + member) },
	}
	for _, name := range members {
		quota, err := p.ledger.Transport(oci.DockerHub, name, transport)
		check(t, err)
		l := login.Anonymous()
		if name != "anonymous" {
			p.password(t, name, "right")
			l = login.File(name, filepath.Join(p.dir, name))
		}
		o.Members = append(o.Members, Member{
			Name: name, Budget: quota.Budget, Stamp: l.Stamp, Anonymous: l.IsAnonymous(),
			Registry: New(Options{Name: oci.DockerHub, URL: u, Auth: l, Transport: quota}),
		})
	}
	p.Pool = NewPool(o)
	return p
}

// password writes what the member logs in with.
func (p *pooled) password(t *testing.T, member, password string) {
	t.Helper()
	check(t, os.WriteFile(filepath.Join(p.dir, member), []byte(password+"\n"), 0o600))
}

func (p *pooled) note(event string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, event)
}

func (p *pooled) wantEvents(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.events, want) {
		t.Errorf("events %q, want %q", p.events, want)
	}
	p.events = nil
}

// spent returns the pulls of each member.
func (p *pooled) spent() string {
	s := ""
	for _, b := range p.ledger.Budgets() {
		s += fmt.Sprintf("%s %d ", b.Credential, b.Spent)
	}
	return s
}

// fill adds n manifests and returns their digests.
func fill(h *hubsim.Hub, repository string, n int) []oci.Digest {
	digests := make([]oci.Digest, n)
	for i := range digests {
		digests[i] = h.AddManifest(repository, fmt.Sprint("v", i), imageType, fmt.Appendf(nil, `{"schemaVersion":2,"n":%d}`, i))
	}
	return digests
}

func pull(t *testing.T, r oci.Registry, repository string, d oci.Digest) error {
	t.Helper()
	ref, err := oci.ParseManifest(oci.DockerHub, repository, d.String())
	check(t, err)
	_, err = read(t, r, ref)
	return err
}

var users = map[string]string{"small": "right", "large": "right"}

// Each pull is spent where most are left, an anonymous one last, and none is
// refused before all are spent.
func TestPoolUsesTheLargestBudget(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: users, Limit: 4, UserLimits: map[string]int{"small": 3, "large": 6}})
	p := pool(t, h, "anonymous", "small", "large")
	digests := fill(h, repo, 20)
	for i := range p.opts.Members { // what each has left is known to it by a HEAD
		_, err := p.opts.Members[i].Registry.Resolve(t.Context(), manifestRef(t, "v0"))
		check(t, err)
	}
	for _, d := range digests[:3] {
		check(t, pull(t, p, repo, d))
	}
	if got, want := p.spent(), "anonymous 0 small 0 large 3 "; got != want {
		t.Errorf("spent %q, want %q", got, want)
	}
	for _, d := range digests[3:9] {
		check(t, pull(t, p, repo, d))
	}
	if got, want := p.spent(), "anonymous 0 small 3 large 6 "; got != want {
		t.Errorf("spent %q, want %q", got, want)
	}
	if why := p.CheckReserve(); why != nil {
		t.Errorf("%v, while the anonymous pulls are all left", why)
	}
	for _, d := range digests[9:13] {
		check(t, pull(t, p, repo, d))
	}
	if n := h.Counters().Refused; n != 0 {
		t.Errorf("%d pulls were refused, want none", n)
	}
	if why, ok := p.CheckReserve().(*oci.LimitError); !ok || why.Kind != oci.LimitReserve {
		t.Errorf("%v, want the reserve", why)
	}
	for _, d := range digests[13:] {
		if err := pull(t, p, repo, d); oci.CodeOf(err) != oci.TooManyRequests {
			t.Errorf("%v, want the limit", err)
		}
	}
	if n := h.Counters().Refused; n > 3 {
		t.Errorf("%d pulls were refused, want one for each credential at most", n)
	}
	_, err := p.Resolve(t.Context(), manifestRef(t, "v0"))
	check(t, err) // HEADs go on
}

// What one may not see another may; who, is remembered.
func TestPoolRemembersTheAllowedLogin(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: users})
	const private = "corp/private"
	digests := fill(h, private, 3)
	h.SetPrivate(private, "large")
	p := pool(t, h, "small", "large", "anonymous")
	check(t, pull(t, p, private, digests[0]))
	h.Reset()
	check(t, pull(t, p, private, digests[1]))
	ref, err := oci.ParseManifest(oci.DockerHub, private, "v2")
	check(t, err)
	_, err = p.Resolve(t.Context(), ref)
	check(t, err)
	if n := h.Counters(); n.Challenges != 0 || n.Tokens != 0 {
		t.Errorf("%d challenges and %d tokens for who is known to be let in", n.Challenges, n.Tokens)
	}
	if err := pull(t, p, "corp/absent", digests[0]); oci.CodeOf(err) != oci.NameUnknown {
		t.Errorf("%v, want not found", err)
	}
}

// A HEAD that is refused for one login without a reason is sent with
// the others before it is given up, and sent again the next time: it is free.
func TestPoolTriesOthersByHead(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: users})
	fill(h, repo, 1)
	p := pool(t, h, "small", "large")
	for _, fault := range []hubsim.Fault{{Status: 403, ContentType: "application/json"}, {Status: 401}, {Status: 404}} {
		h.Reset()
		fault.Op, fault.Times = "manifest-head", 1
		if fault.Status == 401 {
			fault.Times = 1 + len(pauses)
		}
		h.Inject(fault)
		for range 2 {
			_, err := p.Resolve(t.Context(), manifestRef(t, "v0"))
			check(t, err)
		}
		if n := h.Counters(); n.ManifestHEADs != fault.Times+2 || n.ManifestGETs != 0 {
			t.Errorf("%d: %d HEADs and %d GETs, want %d HEADs", fault.Status, n.ManifestHEADs, n.ManifestGETs, fault.Times+2)
		}
	}
}

// While a login cannot be used, a missing image is not reported as missing.
func TestPoolReportsNoFalseAbsence(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: users, UserLimits: map[string]int{"large": 1}})
	const private = "corp/private"
	digests := fill(h, private, 3)
	h.SetPrivate(private, "large")
	p := pool(t, h, "large", "anonymous")
	check(t, pull(t, p, private, digests[0]))
	if err := pull(t, p, private, digests[1]); oci.CodeOf(err) != oci.TooManyRequests {
		t.Errorf("%v, want the limit", err)
	}
	check(t, pull(t, p, repo, fill(h, repo, 1)[0])) // what is public goes on
}

// The abuse limiter is everybody's: the others are not tried.
func TestPoolStopsAtAnUnavailableUpstream(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{Users: users})
	p := pool(t, h, "small", "large", "anonymous")
	digests := fill(h, repo, 2)
	h.Inject(hubsim.Fault{Op: "manifest", Abuse: true})
	for _, d := range digests {
		if err := pull(t, p, repo, d); oci.CodeOf(err) != oci.TooManyRequests {
			t.Errorf("%v, want the limit", err)
		}
	}
	if n := h.Counters().Refused; n != 1 {
		t.Errorf("%d requests were refused, want 1", n)
	}
}

// A budget not reported for long is asked for with a HEAD.
func TestProbe(t *testing.T) {
	h := startHub(t, hubsim.Options{Users: users, Limit: 7, UserLimits: map[string]int{"large": 0}})
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, h, "small", "large")
		probe := func(want int) {
			t.Helper()
			h.Reset()
			p.Probe(t.Context(), 15*time.Minute)
			if n := h.Counters(); n.ManifestHEADs != want || n.ManifestGETs != 0 {
				t.Errorf("%d HEADs and %d GETs, want %d HEADs", n.ManifestHEADs, n.ManifestGETs, want)
			}
		}
		probe(2)
		if b := p.ledger.Budgets(); b[0].Limit != 7 || b[0].Remaining != 7 || b[1].Known() {
			t.Errorf("%+v", b)
		}
		probe(0)
		<-time.After(10 * time.Minute)
		_, err := p.opts.Members[0].Registry.Resolve(t.Context(), manifestRef(t, "v0"))
		if err == nil {
			t.Fatal("there is no v0")
		}
		check(t, pull(t, p, repo, fill(h, repo, 1)[0])) // large has no limit: it is asked first
		<-time.After(6 * time.Minute)
		probe(2) // an answer without figures tells none
		p.opts.Name = "ghcr.io"
		<-time.After(time.Hour)
		probe(0)
	})
}

// What a HEAD by digest is refused says nothing of the HEADs of tags: a client
// that asks for odd digests must not turn the free checks of tags into pulls.
func TestHeadByDigestDoesNotAffectTags(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	digests := fill(h, repo, 2)
	odd := oci.FromBytes([]byte("odd"))
	h.Inject(hubsim.Fault{Op: "manifest-head", Match: odd.String(), Status: 400})
	p := pool(t, h, "anonymous")
	_, err := p.Resolve(t.Context(), manifestRef(t, odd.String()))
	if !errors.Is(err, oci.ErrNeedsGet) {
		t.Errorf("%v does not ask for a GET", err)
	}
	answer, err := p.Resolve(t.Context(), manifestRef(t, "v1"))
	if err != nil || answer.Digest != digests[1] {
		t.Errorf("%+v, %v", answer, err)
	}
}
