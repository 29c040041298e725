package upstream

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// wantOpen checks that an error of a Registry is the refusal of a breaker, with
// nothing around it.
func wantOpen(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, errOpen) || oci.CodeOf(err) != oci.Unavailable || !strings.HasPrefix(err.Error(), "docker.io: its host ") {
		t.Errorf("error %v, want the refusal of a breaker", err)
	}
}

// A storage that fails is not asked any more, and the registry still is.
func TestStorageFails(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	blob := h.AddBlob(repo, []byte("content"))
	manifest := fill(h, repo, 1)[0]
	h.Inject(hubsim.Fault{Op: "cdn", Status: 503})
	u, err := url.Parse(h.URL())
	check(t, err)
	transport := NewTransport(u)
	t.Cleanup(transport.CloseIdleConnections)
	c := connectBy(t, u, newBreakers(transport))
	for range 3 { // of two tries each
		_, err = read(t, c, blobRef(t, blob))
		c.wantCode(t, err, oci.Unavailable)
	}
	wantOpen(t, err)
	check(t, pull(t, c, repo, manifest))
	if n := h.Counters(); n.CDNGETs != hostFailures || n.ManifestGETs != 1 {
		t.Errorf("the storage was asked %d times, want %d; %d manifests", n.CDNGETs, hostFailures, n.ManifestGETs)
	}
}

// An outage is nobody's login and no limit.
func TestOutageOfAPool(t *testing.T) {
	h := startHub(t, hubsim.Options{Users: users, Limit: 10})
	digests := fill(h, repo, 1)
	other := fill(h, "library/other", 1) // no token is known for it
	synctest.Test(t, func(t *testing.T) {
		b := newBreakers(h.Transport())
		defer b.run(t)()
		p := poolBy(t, h, b, "small", "large", "anonymous")
		check(t, pull(t, p, repo, digests[0]))
		mend := h.Inject(hubsim.Fault{Status: http.StatusServiceUnavailable})
		h.Reset()
		var err error
		for range 20 {
			if err = pull(t, p, "library/other", other[0]); oci.CodeOf(err) != oci.Unavailable {
				t.Errorf("error %v", err)
			}
		}
		wantOpen(t, err)
		if n := h.Counters(); n.Requests != hostFailures {
			t.Errorf("%d requests, want %d", n.Requests, hostFailures)
		}
		mend()
		<-time.After(2 * probeEvery)
		check(t, pull(t, p, "library/other", other[0]))
		p.wantEvents(t)
		for _, known := range p.ledger.Budgets() {
			if !known.PullsAt.IsZero() || !known.RequestsAt.IsZero() || !known.LimitedAt.IsZero() {
				t.Errorf("%s is limited: %+v", known.Credential, known)
			}
		}
	})
}
