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

// TestHeadsAgree holds the mirror's HEAD of a tag, in every trouble, against the
// GETs that clients send after it: that of the same tag, and that of the digest
// which the HEAD has told. What was pulled before never fails for a HEAD that
// has promised too much.
func TestHeadsAgree(t *testing.T) {
	rows := slices.Concat(networkFaults, bodyFaults, answerFaults, storageFaults, tokenFaults, limitFaults)
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
					mend := r.strike(m)
					m.agrees(s.path)
					mend()
					<-time.After(gateTime)
				})
			})
		}
	}
}

// agrees checks that what HEAD says of path is what GET serves.
func (m *mirror) agrees(path string) {
	m.t.Helper()
	resp, err := m.client.Head("http://" + mirrorAt + "/v2/" + repo + "/" + path)
	check(m.t, err)
	_ = resp.Body.Close()
	told := oci.Digest(resp.Header.Get("Docker-Content-Digest"))
	a := m.get(path)
	if a.status != resp.StatusCode || a.digest != told {
		m.t.Errorf("HEAD is %s %s, and then GET %s %s", resp.Status, told, a, a.digest)
	}
	if resp.StatusCode != http.StatusOK {
		return
	}
	if a := m.get("manifests/" + told.String()); a.status != http.StatusOK || a.digest != told {
		m.t.Errorf("HEAD has told %s, and GET of that is %s", told, a)
	}
}

// A registry at 300 ms, over new connections with TLS: what was pushed is
// served, not the older copy, though a token, a HEAD and a GET take seconds.
func TestDistantRegistry(t *testing.T) {
	certs := newCertificates(t)
	synctest.Test(t, func(t *testing.T) {
		m := newMirror(t, certs)
		expire(m)
		m.publish(manifestSize, "newer manifest")
		m.transport.CloseIdleConnections()
		mend := onLine(lineFault{distance: 300 * time.Millisecond})(m)
		begun := time.Now()
		m.mustGet(tagPath)
		t.Logf("the new manifest after %s", time.Since(begun))
		if took := time.Since(begun); took < 2*time.Second {
			t.Errorf("the new manifest after %s: that is no distant registry", took)
		}
		mend()
		m.transport.CloseIdleConnections()
		<-time.After(time.Minute) // the line has carried their last bytes
	})
}
