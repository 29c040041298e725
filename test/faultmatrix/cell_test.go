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
	fillTime   = 10 * time.Minute // after which a fill has failed
	gateTime   = 20 * time.Minute // after which the upstream is asked again, whatever its responses
)

// situation is a state of the cache in which a fault occurs.
type situation struct {
	name    string
	path    string
	arrange func(*mirror) // creates the situation
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

// mustGet requests content that must be served completely and in its current version.
func (m *mirror) mustGet(path string) {
	m.t.Helper()
	a := m.get(path)
	if a.status != http.StatusOK || a.incomplete != "" || a.via == string(oci.Stale) || a.digest != m.wanted(path) {
		m.t.Errorf("without a fault: GET %s: %s with %s: %.300s", path, a, a.digest, a.content)
	}
	synctest.Wait() // waits for the fill
}

// wanted returns the digest of the content that the hub has at that path.
func (m *mirror) wanted(path string) oci.Digest {
	if path == blobPath {
		return blobDigest
	}
	return m.named
}

// seen is the outcome of a fault in a situation.
type seen struct {
	client   string
	cached   string
	upstream string
	head     time.Duration // until the client had the header of its response
}

func (s seen) String() string {
	return fmt.Sprintf("%s | %s | %s | %s", s.client, s.cached, s.upstream, s.head.Round(time.Millisecond))
}

// try injects a fault in a situation, and checks what holds in all of them: no
// corrupt content is completed or cached, the mirror connects only to the hub, and
// after the fault the same request succeeds.
func try(t *testing.T, f fault, s situation, certs *certificates) (got seen) {
	synctest.Test(t, func(t *testing.T) {
		m := newMirror(t, certs)
		s.arrange(m)
		m.transport.CloseIdleConnections()
		repair := f(m)
		m.hub.Reset()
		a := m.get(s.path)
		<-time.After(fillTime)
		got = seen{client: a.String(), cached: m.cached(s.path), upstream: requests(m.hub.Counters()), head: a.head}
		m.checkAge(s.path, a)
		m.checkCached()
		repair()
		m.transport.CloseIdleConnections()
		<-time.After(gateTime)
		m.mustGet(s.path)
		m.checkCached()
		if cached := m.cached(s.path); cached != "cached" {
			t.Errorf("after the fault: %s", cached)
		}
		if hosts := m.line.unexpectedHosts(); len(hosts) > 0 {
			t.Errorf("the mirror connected to %v", hosts)
		}
	})
	return got
}

// checkAge checks that a response that claims to be current is what the hub has.
func (m *mirror) checkAge(path string, a response) {
	m.t.Helper()
	switch oci.Via(a.via) {
	case oci.Fill, oci.Revalidated, oci.Pass:
		if a.digest != m.wanted(path) {
			m.t.Errorf("%s claims to be current, and is not", a)
		}
	}
}

// checkCached verifies all files of the cache, when no fill is in flight.
func (m *mirror) checkCached() {
	m.t.Helper()
	if n := m.cache.Stats().Fills; n != 0 {
		m.t.Errorf("%d fills are still in flight", n)
	}
	for _, name := range m.files("blobs", "*", "*", "*") {
		raw, err := os.ReadFile(name)
		check(m.t, err)
		if d := oci.FromBytes(raw); d.Encoded() != filepath.Base(name) {
			m.t.Errorf("%s is cached as %s", d, name)
		}
	}
}

func (m *mirror) files(pattern ...string) []string {
	m.t.Helper()
	names, err := filepath.Glob(filepath.Join(append([]string{m.dir}, pattern...)...))
	check(m.t, err)
	return names
}

// cached says what the cache has of the hub's content at path: all of it, a part, or
// only a previous manifest.
func (m *mirror) cached(path string) string {
	m.t.Helper()
	switch {
	case len(m.files("blobs", "*", "*", m.wanted(path).Encoded())) > 0:
		return "cached"
	case len(m.files("fills", "*")) > 0:
		return "partial"
	case len(m.files("blobs", "*", "*", "*")) > 0:
		return "previous"
	}
	return "-"
}

// requests lists the requests to the hub, with their number if more than one. HEAD and
// GET are those of manifests; a blob is requested from the registry and then from the
// CDN. Pings are omitted: the mirror uses them to discover the token service, and to
// detect that a failed host is back.
func requests(n hubsim.Counters) string {
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
