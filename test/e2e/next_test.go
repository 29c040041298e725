//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"mirrord/internal/hubsim"
)

// puller is a client that only pulls.
type puller interface{ pull(ref string) error }

// families are the clients by name, configured with one mirror or two, and whether they
// fall back to the second one.
var families = []struct {
	name  string
	turns bool
	start func(t *testing.T, mirrors ...string) puller
}{
	{"containerd of Debian 12", true, func(t *testing.T, m ...string) puller { return newContainerd(t, debian12, m...) }},
	{"containerd 2", true, func(t *testing.T, m ...string) puller { return newContainerd(t, newest, m...) }},
	{"Docker of Debian 12", true, func(t *testing.T, m ...string) puller { return newDockerd(t, debian12, graphDriver, m...) }},
	{"Docker 28, graph driver", true, func(t *testing.T, m ...string) puller { return newDockerd(t, newest, graphDriver, m...) }},
	{"Docker 28, containerd's store", true, func(t *testing.T, m ...string) puller { return newDockerd(t, newest, containerdStore, m...) }},
	{"BuildKit", true, func(t *testing.T, m ...string) puller { return newBuildKit(t, m...) }},
	{"podman of Debian 12", true, func(t *testing.T, m ...string) puller { return newPodman(t, debian12, m...) }},
	{"podman 5", true, func(t *testing.T, m ...string) puller { return newPodman(t, newest, m...) }},
	{"skopeo 1.22", true, func(t *testing.T, m ...string) puller { return newSkopeo(t, newest, m...) }},
	{"buildah", true, func(t *testing.T, m ...string) puller { return newBuildah(t, m...) }},
	{"regctl", true, func(t *testing.T, m ...string) puller { return newRegctl(t, m...) }},
	{"crane", false, func(t *testing.T, m ...string) puller { return newCrane(t, m...) }},
	{"oras", false, func(t *testing.T, m ...string) puller { return newOras(t, m...) }},
}

// TestNextHost pulls an image that the mirror cannot serve but the next host can: every
// client that supports several hosts gets it.
func TestNextHost(t *testing.T) {
	for _, family := range families {
		if !family.turns {
			continue
		}
		t.Run(family.name, func(t *testing.T) {
			hub := startHub(t)
			m := startMirror(t, hub)
			next := startRegistry(t, refusal{})
			c := family.start(t, m.address, next.address)
			heal := hub.Inject(hubsim.Fault{Op: "manifest", PullLimit: true})
			turn(t, m, next, c, "quota gone", publishOne(t, hub, "limited", 1))
			heal()
			hub.Down()
			turn(t, m, next, c, "hub down", image{ref: "docker.io/library/down:v1"})
		})
	}
}

// turn pulls an image from the next host after the mirror has refused it.
func turn(t *testing.T, m *mirror, next *host, c puller, phase string, img image) {
	t.Helper()
	repository, _, _ := strings.Cut(strings.TrimPrefix(img.ref, "docker.io/"), ":")
	next.push(t, repository, oneLayer(t, 1))
	refused, begun := m.refused(t), time.Now()
	if err := c.pull(img.ref); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: pulled from the next host in %.2fs", phase, time.Since(begun).Seconds())
	eventually(t, 5*time.Second, "the mirror was asked first", func() bool { return m.refused(t) > refused })
}

// refused returns how many manifests the mirror did not serve.
func (m *mirror) refused(t *testing.T) (n float64) {
	t.Helper()
	for series, value := range m.metrics(t) {
		if strings.HasPrefix(series, "mirrord_requests_total{") && strings.Contains(series, `kind="manifest"`) &&
			(strings.Contains(series, `status="4xx"`) || strings.Contains(series, `status="5xx"`)) {
			n += value
		}
	}
	return n
}

// TestMeasureNextHost prints the tables of docs/clients.md: how long a client takes
// after a refusal until it asks its next host, and until it fails when there is none. It
// mostly waits, so the clients run in parallel.
func TestMeasureNextHost(t *testing.T) {
	if os.Getenv("E2E_MEASURE") == "" {
		t.Skip("it measures for ten minutes and checks nothing: E2E_MEASURE=1, or make measure")
	}
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			t.Parallel()
			for _, kind := range []string{"manifests", "blobs"} {
				for _, r := range refusals {
					r.kind = kind
					rows.add(measure(t, family.name, family.turns, r, family.start))
				}
			}
		})
	}
}

// refusals are the possible responses.
var refusals = []refusal{
	{status: 403, code: "DENIED"},
	{status: 404, code: "MANIFEST_UNKNOWN"},
	{status: 429, code: "TOOMANYREQUESTS"},
	{status: 429, code: "TOOMANYREQUESTS", after: "5"},
	{status: 500, code: "UNKNOWN"},
	{status: 502, code: "UNAVAILABLE"},
	{status: 503, code: "UNAVAILABLE"},
	{status: 503, code: "TOOMANYREQUESTS", after: "5"},
	{status: 504, code: "UNAVAILABLE"},
}

// refusal is a response of a registry instead of manifests or blobs.
type refusal struct {
	kind   string // "manifests", "blobs"; empty for a registry that works
	status int
	code   string
	after  string // Retry-After
}

const (
	bodyWords    = "words of the body"
	warningWords = "words of the warning"
)

func (r refusal) String() string {
	if r.after != "" {
		return fmt.Sprintf("%d, Retry-After: %s", r.status, r.after)
	}
	return fmt.Sprint(r.status)
}

// measure pulls two images that the mirror refuses, one with a next host that has it and
// one without, and returns a row of the table.
func measure(t *testing.T, client string, turns bool, r refusal, start func(*testing.T, ...string) puller) string {
	var row string
	t.Run(r.kind+" "+r.String(), func(t *testing.T) {
		turned := "no next host"
		if turns {
			bad, next := startRegistry(t, r), startRegistry(t, refusal{})
			ref := next.publish(t, 1)
			bad.publish(t, 1)
			err := start(t, bad.address, next.address).pull(ref)
			switch refused, asked := bad.first(r.kind), next.first(""); {
			case err != nil:
				turned = "fails"
			case asked.IsZero() || refused.IsZero():
				turned = "?"
			default:
				turned = fmt.Sprintf("%.1f s", asked.Sub(refused).Seconds())
			}
		}
		bad := startRegistry(t, r)
		ref := bad.publish(t, 2)
		c := start(t, bad.address)
		err := c.pull(ref)
		ended := time.Now()
		if err == nil {
			t.Fatal("the pull succeeded")
		}
		failed := ended.Sub(bad.first(r.kind)).Seconds()
		row = fmt.Sprintf("| %s | %s | %s | %s | %.1f s | %d | %s |", client, r.kind, r, turned, failed, bad.asked(r.kind), shown(err))
	})
	return row
}

// shown returns which parts of a refusal a client shows.
func shown(err error) string {
	var words []string
	if strings.Contains(err.Error(), bodyWords) {
		words = append(words, "body")
	}
	if strings.Contains(err.Error(), warningWords) {
		words = append(words, "warning")
	}
	return strings.Join(words, ", ")
}

// host is a registry that can refuse requests.
type host struct {
	address string
	content http.Handler // without refusals
	mu      sync.Mutex
	log     []request
}

type request struct {
	path string
	at   time.Time
}

func startRegistry(t *testing.T, r refusal) *host {
	t.Helper()
	h := &host{content: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		h.mu.Lock()
		h.log = append(h.log, request{q.URL.Path, time.Now()})
		h.mu.Unlock()
		if r.kind == "" || !strings.Contains(q.URL.Path, "/"+r.kind+"/") {
			h.content.ServeHTTP(w, q)
			return
		}
		if r.after != "" {
			w.Header().Set("Retry-After", r.after)
		}
		w.Header().Set("Warning", `299 - "`+warningWords+`"`)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(r.status)
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, r.code, bodyWords)
	}))
	t.Cleanup(server.Close)
	h.address = strings.TrimPrefix(server.URL, "http://")
	return h
}

// publish adds an image to the host, and returns its name at Docker Hub.
func (h *host) publish(t *testing.T, seed uint64) string {
	t.Helper()
	h.push(t, "library/image", oneLayer(t, seed))
	return "docker.io/library/image:v1"
}

// push adds an image as v1, bypassing the log and the refusals.
func (h *host) push(t *testing.T, repository string, img v1.Image) {
	t.Helper()
	server := httptest.NewServer(h.content)
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/" + repository + ":v1"
	if err := remote.Write(parse(t, ref), img); err != nil {
		t.Fatal(err)
	}
}

// first returns when the host got its first request of a kind.
func (h *host) first(kind string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range h.log {
		if strings.Contains(q.path, kind) {
			return q.at
		}
	}
	return time.Time{}
}

// asked returns how many requests of a kind the host got.
func (h *host) asked(kind string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, q := range h.log {
		if strings.Contains(q.path, "/"+kind+"/") {
			n++
		}
	}
	return n
}
