package faultmatrix

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
)

// TestHeadsAgree compares the mirror's HEAD of a tag, with every fault, with the GETs
// that clients send after it: of the same tag, and of the digest in the HEAD. A HEAD
// never names content that a GET cannot serve, so an image that was pulled before
// can be pulled again.
func TestHeadsAgree(t *testing.T) {
	rows := slices.Concat(networkFaults, bodyFaults, responseFaults, storageFaults, tokenFaults, limitFaults)
	for _, r := range rows {
		for _, s := range situations {
			if !strings.HasSuffix(s.name, " tag") || s.name == "uncached tag" {
				continue
			}
			t.Run(r.fault+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					m := newMirror(t, nil)
					s.arrange(m)
					m.transport.CloseIdleConnections()
					repair := r.inject(m)
					m.checkHeadAgrees(s.path)
					repair()
					<-time.After(gateTime)
				})
			})
		}
	}
}

// checkHeadAgrees checks that GET serves what HEAD describes.
func (m *mirror) checkHeadAgrees(path string) {
	m.t.Helper()
	resp, err := m.client.Head("http://" + mirrorAt + "/v2/" + repo + "/" + path)
	check(m.t, err)
	_ = resp.Body.Close()
	described := oci.Digest(resp.Header.Get("Docker-Content-Digest"))
	a := m.get(path)
	if a.status != resp.StatusCode || a.digest != described {
		m.t.Errorf("HEAD is %s %s, and then GET %s %s", resp.Status, described, a, a.digest)
	}
	if resp.StatusCode != http.StatusOK {
		return
	}
	if a := m.get("manifests/" + described.String()); a.status != http.StatusOK || a.digest != described {
		m.t.Errorf("HEAD is %s, and GET of that digest %s", described, a)
	}
}

// With a registry at 300 ms and new connections with TLS, the pushed manifest is
// served and not the stale copy, although a token, a HEAD and a GET take seconds.
func TestDistantRegistry(t *testing.T) {
	certs := newCertificates(t)
	synctest.Test(t, func(t *testing.T) {
		m := newMirror(t, certs)
		expire(m)
		m.publish(manifestSize, "newer manifest")
		m.transport.CloseIdleConnections()
		repair := onLine(lineFault{distance: 300 * time.Millisecond})(m)
		begun := time.Now()
		m.mustGet(tagPath)
		t.Logf("the new manifest after %s", time.Since(begun))
		if took := time.Since(begun); took < 2*time.Second {
			t.Errorf("the new manifest after %s: the registry is not distant", took)
		}
		repair()
		m.transport.CloseIdleConnections()
		<-time.After(time.Minute) // the last bytes have arrived
	})
}
