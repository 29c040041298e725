package faultmatrix

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

const (
	expiryTime = 10 * time.Minute // after which a tag is no longer fresh, and a token has expired
	settleTime = 10 * time.Minute // after which a fill has given up
	gateTime   = 20 * time.Minute // after which the upstream is asked again, whatever it said
)

// situation is a state of the cache in which a fault strikes.
type situation struct {
	name    string
	path    string
	arrange func(*mirror) // brings it about
}

var situations = []situation{
	{"cold blob", blobPath, func(*mirror) {}},
	{"warm blob", blobPath, func(m *mirror) { m.mustGet(blobPath) }},
	{"fresh tag", tagPath, func(m *mirror) { m.mustGet(tagPath) }},
	{"expired tag", tagPath, expire},
	{"moved tag", tagPath, func(m *mirror) {
		expire(m)
		m.publish(manifestSize, "newer manifest")
	}},
	{"uncached tag", tagPath, func(*mirror) {}},
}

const tagPath = "manifests/" + tag

var blobPath = "blobs/" + blobDigest.String()

func expire(m *mirror) {
	m.mustGet(tagPath)
	<-time.After(expiryTime)
}

// mustGet asks for what has to come right, and is the newest there is.
func (m *mirror) mustGet(path string) {
	m.t.Helper()
	a := m.get(path)
	if a.status != http.StatusOK || a.flaw != "" || a.via == string(oci.Stale) || a.digest != m.wanted(path) {
		m.t.Errorf("without a fault %s is answered %s with %s: %.300s", path, a, a.digest, a.content)
	}
	synctest.Wait() // the fill behind it is done
}

// wanted is the digest of what the hub has at that path.
func (m *mirror) wanted(path string) oci.Digest {
	if path == blobPath {
		return blobDigest
	}
	return m.named
}

// seen is what came of a fault in a situation.
type seen struct {
	client   string
	kept     string
	upstream string
	head     time.Duration // until the client had its answer's head
}

func (s seen) String() string {
	return fmt.Sprintf("%s | %s | %s | %s", s.client, s.kept, s.upstream, s.head.Round(time.Millisecond))
}

// try lets a fault strike in a situation, and checks what holds for all of them:
// no wrong byte completes or is kept, nothing but the hub is connected to, and
// when the fault is gone the same request succeeds.
func try(t *testing.T, f fault, s situation, certs *certificates) (saw seen) {
	synctest.Test(t, func(t *testing.T) {
		m := newMirror(t, certs)
		s.arrange(m)
		m.transport.CloseIdleConnections()
		mend := f(m)
		m.hub.Reset()
		a := m.get(s.path)
		<-time.After(settleTime)
		saw = seen{client: a.String(), kept: m.kept(s.path), upstream: words(m.hub.Counters()), head: a.head}
		m.checkAge(s.path, a)
		m.checkKept()
		mend()
		m.transport.CloseIdleConnections()
		<-time.After(gateTime)
		m.mustGet(s.path)
		m.checkKept()
		if kept := m.kept(s.path); kept != "kept" {
			t.Errorf("after the fault: %s", kept)
		}
		if hosts := m.line.led(); len(hosts) > 0 {
			t.Errorf("the mirror was led to %v", hosts)
		}
	})
	return saw
}

// checkAge checks that an answer which says that it is what the hub has, is.
func (m *mirror) checkAge(path string, a answer) {
	m.t.Helper()
	switch oci.Via(a.via) {
	case oci.Fill, oci.Revalidated, oci.Pass:
		if a.digest != m.wanted(path) {
			m.t.Errorf("%s is answered as the newest, and is not", a)
		}
	}
}

// checkKept hashes all files of the cache, when nothing is put into it any more.
func (m *mirror) checkKept() {
	m.t.Helper()
	if n := m.cache.Stats().Fills; n != 0 {
		m.t.Errorf("%d fills are still under way", n)
	}
	for _, name := range m.files("blobs", "*", "*", "*") {
		raw, err := os.ReadFile(name)
		check(m.t, err)
		if d := oci.FromBytes(raw); d.Encoded() != filepath.Base(name) {
			m.t.Errorf("%s is kept as %s", d, name)
		}
	}
}

func (m *mirror) files(pattern ...string) []string {
	m.t.Helper()
	names, err := filepath.Glob(filepath.Join(append([]string{m.dir}, pattern...)...))
	check(m.t, err)
	return names
}

// kept says what the cache has of what the hub has at path: all of it, a part,
// or an older manifest.
func (m *mirror) kept(path string) string {
	m.t.Helper()
	switch {
	case len(m.files("blobs", "*", "*", m.wanted(path).Encoded())) > 0:
		return "kept"
	case len(m.files("fills", "*")) > 0:
		return "part"
	case len(m.files("blobs", "*", "*", "*")) > 0:
		return "older"
	}
	return "-"
}

// words tells what the hub was asked, and how often when that was more than
// once. HEAD and GET are those of manifests, a blob is asked for at the registry
// and then at the CDN. Left out are pings, by which the mirror learns of the
// token service, and that a host which failed is back.
func words(n hubsim.Counters) string {
	var asked []string
	for _, c := range []struct {
		n    int
		what string
	}{
		{n.Tokens, "token"}, {n.Challenges, "challenge"}, {n.ManifestHEADs, "HEAD"},
		{n.ManifestRequests, "GET"}, {n.BlobHEADs, "blob-HEAD"}, {n.BlobGETs, "blob"}, {n.CDNGETs, "cdn"},
	} {
		switch {
		case c.n == 1:
			asked = append(asked, c.what)
		case c.n > 1:
			asked = append(asked, fmt.Sprintf("%d×%s", c.n, c.what))
		}
	}
	return cmp.Or(strings.Join(asked, " "), "-")
}
