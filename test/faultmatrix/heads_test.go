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

// head sends a HEAD to the mirror and compares its response with the hub's content:
// the mirror's HEADs are right, whatever those of the hub. via may be empty for any;
// head returns the actual one.
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

// spent checks the number of HEADs and GETs of manifests at the hub since the last
// call.
func (m *mirror) spent(when string, heads, gets int) {
	m.t.Helper()
	synctest.Wait()
	if n := m.hub.Counters(); n.ManifestHEADs != heads || n.ManifestRequests != gets {
		m.t.Errorf("%s: %d HEADs and %d GETs at the hub, want %d and %d", when, n.ManifestHEADs, n.ManifestRequests, heads, gets)
	}
	m.hub.Reset()
}

// TestHeads makes the hub's HEADs of manifests wrong, and compares the mirror's with
// the hub's content, for a tag that is uncached, fresh, expired, moved and stale. A
// manifest costs one pull, and so does each check of a tag whose HEADs are useless.
// Only a plausible HEAD of an uncached manifest is passed on.
func TestHeads(t *testing.T) {
	for _, f := range headFaults {
		t.Run(f.fault, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMirror(t, nil)
				repair := f.inject(m)
				m.headUncached("uncached", f.claim, 1)
				m.mustGet(tagPath)
				m.hub.Reset()
				m.head(tagPath, "hit")
				m.head("manifests/"+m.named.String(), "hit")
				m.spent("fresh", 0, 0)
				m.headExpired(f.claim)
				repair()
				m.publish(manifestSize+100, "newer manifest")
				repair = f.inject(m)
				<-time.After(expiryTime)
				m.hub.Reset()
				m.head(tagPath, "fill") // a GET shows that it is available
				if f.claim == useless {
					m.spent("moved", 0, 1)
				} else {
					m.spent("moved", 1, 1)
				}
				m.mustGet(tagPath)
				repair()
				m.hub.Inject(hubsim.Fault{Status: 503})
				<-time.After(expiryTime)
				m.head(tagPath, "stale")
			})
		})
	}
}

// headUncached sends a HEAD for a tag whose content is not cached.
func (m *mirror) headUncached(when string, c claim, heads int) {
	m.t.Helper()
	m.hub.Reset()
	switch c {
	case right:
		m.head(tagPath, "pass")
	case open, useless:
		m.head(tagPath, "fill")
		m.spent(when, heads, 1)
	case wrong:
		resp, err := m.client.Head("http://" + mirrorAt + "/v2/" + repo + "/" + tagPath)
		check(m.t, err)
		_ = resp.Body.Close()
		m.spent(when, heads, 0)
	}
}

// headExpired sends a HEAD for an expired tag that has not moved.
func (m *mirror) headExpired(c claim) {
	m.t.Helper()
	<-time.After(expiryTime)
	m.head(tagPath, "revalidated")
	if c == useless {
		m.spent("expired", 0, 1)
	} else {
		m.spent("expired", 1, 0)
	}
}

// TestHeadByDigest is the same for a digest that is not cached. Then it does not
// matter if a HEAD has no digest.
func TestHeadByDigest(t *testing.T) {
	for _, f := range headFaults {
		if f.claim == wrong {
			continue
		}
		t.Run(f.fault, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMirror(t, nil)
				f.inject(m)
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

// When HEADs of a repository do not describe its manifests, none is sent for an hour,
// and then one to try again.
func TestUselessHeadsPauseForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMirror(t, nil)
		repair := m.hub.Inject(hubsim.Fault{Op: "manifest-head", Status: 501})
		m.mustGet(tagPath)
		m.spent("at first", 1, 1)
		for range 5 {
			<-time.After(expiryTime)
			m.mustGet(tagPath)
			m.spent("remembered", 0, 1)
		}
		repair()
		<-time.After(expiryTime)
		m.mustGet(tagPath)
		m.spent("after an hour", 1, 0)
	})
}

// When the GET fails, too, the method is not the reason, and the next check is a HEAD
// again.
func TestFailedGetKeepsHeads(t *testing.T) {
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
