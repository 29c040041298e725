package faultmatrix

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// listFaults are faults of lists of tags and of referrers. cold is the status of an
// uncached list of tags, referrers that of an uncached list of referrers.
var listFaults = []struct {
	fault           string
	inject          fault
	cold, referrers int
}{
	{"down", noEntry(""), 503, 503},
	{"500", lists(hubsim.Fault{Status: 500}), 503, 503},
	{"503", lists(hubsim.Fault{Status: 503}), 503, 503},
	{"429", lists(hubsim.Fault{Abuse: true}), 503, 503},
	{"no response within 60 s", lists(hubsim.Fault{Latency: time.Minute}), 503, 503},
	{"a body that is dropped", lists(hubsim.Fault{DropAfter: 10}), 503, 503},
	{"a body that is cut", lists(hubsim.Fault{Status: 200, ContentType: "application/vnd.oci.image.index.v1+json", Body: `{"manif`}), 503, 503},
	{"an empty object", lists(hubsim.Fault{Status: 200, ContentType: "application/vnd.oci.image.index.v1+json", Body: `{}`}), 503, 503},
	{"a body that stalls", lists(hubsim.Fault{StallAfter: 10}), 503, 503},
	{"a page", lists(page), 503, 404},
	{"a page that says 404", lists(hubsim.Fault{Status: 404, ContentType: "text/html", Body: "<html>"}), 503, 404},
	{"a page that says 403", lists(hubsim.Fault{Status: 403, ContentType: "text/html", Body: "<html>"}), 503, 503},
	{"501", lists(hubsim.Fault{Status: 501}), 503, 404},
}

func lists(f hubsim.Fault) fault { return inject(each(f, "tags", "referrers")...) }

// TestLists tests lists with every fault: a cached list is served and marked as stale,
// and no list comes out empty. Only if a registry has no referrers API, clients are
// sent to the referrers tag.
func TestLists(t *testing.T) {
	for _, f := range listFaults {
		t.Run(f.fault, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMirror(t, nil)
				m.hub.AddManifest(repo, "", imageType, fmt.Appendf(nil, `{"schemaVersion":2,"subject":{"digest":%q}}`, m.named))
				warm := map[string]int{"tags/list": f.cold, "referrers/" + m.named.String(): f.referrers}
				for path := range warm {
					m.wantList(path, "fill")
					m.wantList(path, "hit")
				}
				<-time.After(expiryTime)
				m.transport.CloseIdleConnections()
				repair := f.inject(m)
				for path, cold := range warm {
					m.wantList(path, "stale")
					m.wantStatus(path+"?n=1&artifactType=x", cold)
				}
				repair()
				<-time.After(gateTime)
				for path := range warm {
					m.wantList(path, "fill")
				}
			})
		})
	}
}

// wantList requests a list that has one entry.
func (m *mirror) wantList(path string, via oci.Via) {
	m.t.Helper()
	header, body := m.wantStatus(path, http.StatusOK)
	if header.Get("X-Mirrord-Cache") != string(via) || len(body) < len(`{"name":"library/test","tags":["v1"]}`) {
		m.t.Errorf("%s: via %q, want %s: %.200s", path, header.Get("X-Mirrord-Cache"), via, body)
	}
	if stale := header.Get("Age") != "" && header.Get("Warning") != ""; stale != (via == oci.Stale) {
		m.t.Errorf("%s: Age %q, Warning %q", path, header.Get("Age"), header.Get("Warning"))
	}
}

func (m *mirror) wantStatus(path string, status int) (http.Header, []byte) {
	m.t.Helper()
	resp, err := m.client.Get("http://" + mirrorAt + "/v2/" + repo + "/" + path)
	check(m.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	check(m.t, err)
	if resp.StatusCode != status {
		m.t.Errorf("%s: status %d, want %d: %.200s", path, resp.StatusCode, status, body)
	}
	return resp.Header, body
}
