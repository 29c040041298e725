package faultmatrix

import (
	"cmp"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// head asks the mirror for what HEAD tells, and holds it against what the hub
// has: whatever the hub's own HEADs say, the mirror's are right.
// via may be empty, and is returned.
func (m *mirror) head(path, via string) string {
	m.t.Helper()
	resp, err := m.client.Head("http://" + mirrorAt + "/v2/" + repo + "/" + path)
	check(m.t, err)
	_ = resp.Body.Close()
	via = cmp.Or(via, resp.Header.Get("X-Mirrord-Cache"))
	for name, want := range map[string]string{
		"Content-Type":          imageType,
		"Content-Length":        strconv.Itoa(len(m.manifest)),
		"Docker-Content-Digest": m.named.String(),
		"X-Mirrord-Cache":       via,
	} {
		if got := resp.Header.Get(name); resp.StatusCode != http.StatusOK || got != want {
			m.t.Errorf("HEAD %s: %d, %s: %q, want %q", path, resp.StatusCode, name, got, want)
		}
	}
	return via
}

// spent checks how many manifests the hub was asked for since the last time.
func (m *mirror) spent(when string, heads, gets int) {
	m.t.Helper()
	synctest.Wait()
	if n := m.hub.Counters(); n.ManifestHEADs != heads || n.ManifestRequests != gets {
		m.t.Errorf("%s: the hub was asked by %d HEADs and %d GETs, want %d and %d", when, n.ManifestHEADs, n.ManifestRequests, heads, gets)
	}
	m.hub.Reset()
}

// TestHeads lets the hub's HEADs of manifests lie, and holds the mirror's
// against what the hub has: of a tag that is uncached, fresh, expired, moved and
// stale. A manifest costs one pull, and so does each check of a tag of which
// only a GET tells. Only what could be true of an uncached one is passed on.
func TestHeads(t *testing.T) {
	for _, f := range headFaults {
		t.Run(f.fault, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMirror(t, nil)
				mend := f.strike(m)
				m.headUncached("uncached", f.claim, 1)
				m.mustGet(tagPath)
				m.hub.Reset()
				m.head(tagPath, "hit")
				m.head("manifests/"+m.named.String(), "hit")
				m.spent("fresh", 0, 0)
				m.headExpired(f.claim)
				mend()
				m.publish(manifestSize+100, "newer manifest")
				mend = f.strike(m)
				<-time.After(expiryTime)
				m.hub.Reset()
				m.head(tagPath, "fill") // that it can be had takes a GET
				if f.claim == inVain {
					m.spent("moved", 0, 1)
				} else {
					m.spent("moved", 1, 1)
				}
				m.mustGet(tagPath)
				mend()
				m.hub.Inject(hubsim.Fault{Status: 503})
				<-time.After(expiryTime)
				m.head(tagPath, "stale")
			})
		})
	}
}

// headUncached asks for a tag whose content is not cached.
func (m *mirror) headUncached(when string, c claim, heads int) {
	m.t.Helper()
	m.hub.Reset()
	switch c {
	case right:
		m.head(tagPath, "pass")
	case open, inVain:
		m.head(tagPath, "fill")
		m.spent(when, heads, 1)
	case wrong:
		resp, err := m.client.Head("http://" + mirrorAt + "/v2/" + repo + "/" + tagPath)
		check(m.t, err)
		_ = resp.Body.Close()
		m.spent(when, heads, 0)
	}
}

// headExpired asks for a tag that has not moved.
func (m *mirror) headExpired(c claim) {
	m.t.Helper()
	<-time.After(expiryTime)
	m.head(tagPath, "revalidated")
	if c == inVain {
		m.spent("expired", 0, 1)
	} else {
		m.spent("expired", 1, 0)
	}
}

// TestHeadByDigest is the same for a digest that is not cached. That a HEAD
// tells no digest does not matter then.
func TestHeadByDigest(t *testing.T) {
	for _, f := range headFaults {
		if f.claim == wrong {
			continue
		}
		t.Run(f.fault, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMirror(t, nil)
				f.strike(m)
				path := "manifests/" + m.named.String()
				via := m.head(path, "")
				gets := 0
				if via == "fill" {
					gets = 1
				}
				m.spent("uncached", 1, gets)
				m.mustGet(path)
				m.hub.Reset()
				m.head(path, "hit")
				m.spent("cached", 0, 0)
			})
		})
	}
}

// TestHeadsInVain: of a repository whose HEADs do not tell, none is sent for an
// hour, and then one, which may.
func TestHeadsInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMirror(t, nil)
		mend := m.hub.Inject(hubsim.Fault{Op: "manifest-head", Status: 501})
		m.mustGet(tagPath)
		m.spent("at first", 1, 1)
		for range 5 {
			<-time.After(expiryTime)
			m.mustGet(tagPath)
			m.spent("remembered", 0, 1)
		}
		mend()
		<-time.After(expiryTime)
		m.mustGet(tagPath)
		m.spent("after an hour", 1, 0)
	})
}

// TestNoGetInVain: where the GET fails too it is not the method, and the next
// check is a HEAD again.
func TestNoGetInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMirror(t, nil)
		m.mustGet(tagPath)
		for _, op := range []string{"manifest-head", "manifest"} {
			m.hub.Inject(hubsim.Fault{Op: op, Status: 400, Times: 1})
		}
		m.hub.Reset()
		<-time.After(expiryTime)
		if a := m.get(tagPath); a.via != string(oci.Stale) {
			t.Errorf("while it is refused: %s", a)
		}
		m.spent("refused", 1, 1)
		<-time.After(expiryTime)
		m.mustGet(tagPath)
		m.spent("again", 1, 0)
	})
}
