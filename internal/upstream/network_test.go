package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/oci"
)

// behaviour is what a host in memory does with a request.
type behaviour func(*http.Request) (*http.Response, error)

func (do behaviour) RoundTrip(req *http.Request) (*http.Response, error) { return do(req) }

// network has hosts in memory: each does what was set, and answers when nothing
// was. It counts what is sent to them.
type network struct {
	mu     sync.Mutex // guards all below
	do     map[string]behaviour
	asked  map[string]int
	probes map[string]int
}

func newNetwork() *network {
	return &network{do: make(map[string]behaviour), asked: make(map[string]int), probes: make(map[string]int)}
}

func (n *network) set(host string, do behaviour) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.do[host] = do
}

func (n *network) RoundTrip(req *http.Request) (*http.Response, error) {
	n.mu.Lock()
	do := n.do[req.URL.Host]
	if OperationOf(req) == Ping {
		n.probes[req.Method+" "+req.URL.String()]++
	} else {
		n.asked[req.URL.Host]++
	}
	n.mu.Unlock()
	if do == nil {
		do = status(http.StatusOK)
	}
	return do(req)
}

// wantSent checks how many requests that are no probes have come to a host.
func (n *network) wantSent(t *testing.T, host string, want int) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if got := n.asked[host]; got != want {
		t.Errorf("%d requests sent to %s, want %d", got, host, want)
	}
}

func (n *network) wantProbes(t *testing.T, want map[string]int) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if diff := cmp.Diff(want, n.probes); diff != "" {
		t.Errorf("probes (-want +sent):\n%s", diff)
	}
}

func status(code int) behaviour {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Status: fmt.Sprint(code, " ", http.StatusText(code)), Body: http.NoBody}, nil
	}
}

func broken(err error) behaviour {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// hanging never answers.
func hanging(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// breakers are Breakers that note what they tell.
type breakers struct {
	*Breakers
	mu     sync.Mutex // guards events
	events []string
}

func newBreakers(next http.RoundTripper) *breakers {
	return newBreakersOf("https://registry.example", next)
}

func newBreakersOf(registry string, next http.RoundTripper) *breakers {
	root, err := url.Parse(registry)
	if err != nil {
		panic(err)
	}
	b := &breakers{}
	b.Breakers = NewBreakers(BreakerOptions{
		Name: oci.DockerHub, URL: root, Next: next,
		Opened: func(host string, err error) { b.note(fmt.Sprintf("opened %s: %v", host, err)) },
		Closed: func(host string) { b.note("closed " + host) },
	})
	return b
}

func (b *breakers) note(event string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, event)
}

func (b *breakers) wantEvents(t *testing.T, want ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.events, want) {
		t.Errorf("told %q, want %q", b.events, want)
	}
	b.events = nil
}

// get asks as a Registry does, for which a 5xx is an error.
func (b *breakers) get(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(withOperation(ctx, ManifestHead), http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: b}).Do(req)
	if err != nil {
		return err
	}
	discard(resp)
	if resp.StatusCode >= 500 {
		return errors.New(resp.Status)
	}
	return nil
}

// run lets the probes go until stop.
func (b *breakers) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	return func() {
		cancel()
		check(t, <-ended)
	}
}

const (
	hub     = "https://registry.example/v2/library/test/manifests/v1"
	hubHost = "registry.example"
)
