package security

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/stack"
	"mirrord/internal/upstream"
)

// The hosts of the tests of credentials.
const (
	tokenService = "https://auth.registry.example"
	cdn          = "https://cdn.example.net"
	fallback     = "https://fallback.example.org"
	other        = "https://other.example.com"

	signature        = "SIGNATURE-SHALL-NOT-LEAK"
	fallbackPassword = "FALLBACK-SHALL-NOT-LEAK"
)

var fallbackLogin = base64.StdEncoding.EncodeToString([]byte("fallback-user:" + fallbackPassword))

// hostile are a registry with its token service, its CDN and a fallback, all of which
// fail in the middle and try to get at the credentials of each other.
type hostile struct {
	*internet
	blobs map[string][]byte // by digest

	down     atomic.Bool  // the registry
	expired  atomic.Bool  // its tokens: one request is refused
	echo     atomic.Bool  // it repeats what it was sent
	cdnEcho  atomic.Bool  // the CDN does
	links    atomic.Int32 // that it has made
	refusing atomic.Bool  // the token service
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{internet: newInternet(t), blobs: make(map[string][]byte)}
	h.serve(registry, h.serveRegistry)
	h.serve(tokenService, h.serveToken)
	h.serve(cdn, h.serveCDN)
	h.serve(fallback, h.serveFallback)
	h.serve(other, func(w http.ResponseWriter, r *http.Request) { h.serveContent(w, r, "") })
	return h
}

func (h *hostile) add(name string) (path string) {
	raw, d := content(name)
	h.blobs[d.String()] = raw
	return "/v2/" + repository + "/blobs/" + d.String()
}

func (h *hostile) serveRegistry(w http.ResponseWriter, r *http.Request) {
	switch sent := r.Header.Get("Authorization"); {
	case h.down.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
	case h.echo.Load():
		http.Error(w, fmt.Sprint("you sent ", r.Header), http.StatusInternalServerError)
	case sent != "Bearer "+token, r.URL.Path != "/v2/" && h.expired.Swap(false):
		w.Header().Set("Www-Authenticate", fmt.Sprintf("Bearer realm=%q,service=\"registry.example\"", tokenService+"/token"))
		w.WriteHeader(http.StatusUnauthorized)
	default:
		h.serveContent(w, r, fmt.Sprintf("%s/%d/", cdn, h.links.Add(1)))
	}
}

// serveContent serves manifests, and redirects blobs to storage unless that is empty.
func (h *hostile) serveContent(w http.ResponseWriter, r *http.Request, storage string) {
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	switch {
	case strings.Contains(r.URL.Path, "/manifests/"):
		w.Header().Set("Content-Type", imageType)
		w.Header().Set("Docker-Content-Digest", digestOf(manifest))
		_, _ = io.WriteString(w, manifest)
	case h.blobs[name] == nil:
	case storage == "":
		_, _ = w.Write(h.blobs[name])
	default:
		http.SetCookie(w, &http.Cookie{Name: "session", Value: token, Domain: "example.net"})
		http.Redirect(w, r, storage+name+"?sig="+signature, http.StatusTemporaryRedirect)
	}
}

const manifest = `{"schemaVersion":2,"mediaType":"` + imageType + `"}`

func (h *hostile) serveToken(w http.ResponseWriter, r *http.Request) {
	if h.refusing.Load() || r.Header.Get("Authorization") != "Basic "+basicLogin {
		w.Header().Set("Www-Authenticate", `Basic realm="x"`)
		http.Error(w, fmt.Sprint("you sent ", r.Header, r.URL.RawQuery, " which is ", password), http.StatusUnauthorized)
		return
	}
	issueToken(w, r)
}

// serveCDN breaks off the first body of a link, refuses the second link, and asks for a
// login with it.
func (h *hostile) serveCDN(w http.ResponseWriter, r *http.Request) {
	raw := h.blobs[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]
	switch {
	case strings.HasPrefix(r.URL.Path, "/1/"):
		w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
		_, _ = w.Write(raw[:len(raw)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case h.cdnEcho.Load(), strings.HasPrefix(r.URL.Path, "/2/"):
		w.Header().Add("Www-Authenticate", `Basic realm="x"`)
		w.Header().Add("Www-Authenticate", fmt.Sprintf("Bearer realm=%q", cdn+"/token"))
		http.Error(w, "you sent "+r.URL.String(), http.StatusUnauthorized)
	default:
		first := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(raw)-1, len(raw)))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(raw[first:])
	}
}

// serveFallback wants a login of its own.
func (h *hostile) serveFallback(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Basic "+fallbackLogin {
		w.Header().Set("Www-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	h.serveContent(w, r, "")
}

// secretsSeen returns the hosts that have seen a secret.
func (i *internet) secretsSeen(secret string) (hosts []string) {
	for _, v := range i.all() {
		if strings.Contains(fmt.Sprint(v.uri, v.header, v.body), secret) && !slices.Contains(hosts, v.host) {
			hosts = append(hosts, v.host)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, header := range i.clear {
		if strings.Contains(fmt.Sprint(header), secret) {
			return append(hosts, "the proxy")
		}
	}
	slices.Sort(hosts)
	return hosts
}

// The login goes to the token service, its token to the registry, and the link to the
// CDN, whatever fails in the middle, and nobody tells of them.
func TestCredentialsStayWithTheirHost(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	u := withLogin(t, upstreamOf(t, h.internet, "registry.example", registry), user, password)
	second := withLogin(t, upstreamOf(t, h.internet, "fallback", fallback), "fallback-user", fallbackPassword)
	u.Fallbacks = []stack.Fallback{{URL: second.URL, Credentials: second.Credentials, Transport: second.Transport}}
	m := watch(t, u, upstreamOf(t, h.internet, "other.example.com", other))
	want := func(path string, status int) {
		t.Helper()
		if w := m.get(http.MethodGet, path); w.Code != status {
			t.Errorf("%s: status %d, want %d: %s", path, w.Code, status, w.Body)
		}
	}
	broken, renewed, elsewhere, absent := h.add("broken"), h.add("renewed"), h.add("elsewhere"), h.add("absent")
	want("/v2/"+repository+"/manifests/latest", 200)
	want(broken, 200) // through three links
	h.expired.Store(true)
	want(renewed, 200)
	want(elsewhere+"?ns=other.example.com", 200)
	h.echo.Store(true)
	want("/v2/"+repository+"/manifests/echo?ns=registry.example", 200) // by the fallback
	h.echo.Store(false)
	h.down.Store(true)
	want(absent, 200) // by the fallback
	h.down.Store(false)
	for secret, hosts := range map[string][]string{
		basicLogin: {tokenService}, password: nil, token: {registry}, signature: {cdn}, fallbackLogin: {fallback}, fallbackPassword: nil,
	} {
		if seen := h.secretsSeen(secret); !slices.Equal(seen, hosts) {
			t.Errorf("%s was seen by %q, want %q", secret, seen, hosts)
		}
	}
	if n := h.links.Load(); n < 4 {
		t.Errorf("%d links: nothing was resumed", n)
	}
	m.wantUntold(password, basicLogin, token, signature, fallbackPassword, fallbackLogin)
}

// What a host repeats of a secret is not told, though its message is.
func TestEchoesAreNotTold(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	m := watch(t, withLogin(t, upstreamOf(t, h.internet, "registry.example", registry), user, password))
	blob := h.add("echo")
	h.links.Store(2)
	h.cdnEcho.Store(true)
	if w := m.get(http.MethodGet, blob); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "you sent") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	h.echo.Store(true)
	if w := m.get(http.MethodGet, h.add("more")); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "you sent") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	m.wantUntold(password, basicLogin, token, signature)
}

// A login that is refused is told by its user name at most.
func TestRefusedLoginIsNotTold(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.refusing.Store(true)
	m := watch(t, withLogin(t, upstreamOf(t, h.internet, "registry.example", registry), user, password))
	for range 3 {
		if w := m.get(http.MethodGet, "/v2/"+repository+"/manifests/latest"); w.Code < 400 {
			t.Errorf("status %d", w.Code)
		}
	}
	if seen := h.secretsSeen(basicLogin); !slices.Equal(seen, []string{tokenService}) {
		t.Errorf("the login was seen by %q", seen)
	}
	m.wantUntold(password, basicLogin)
}

// What a client sends along reaches no upstream, no log and no metric.
func TestClientHeadersGoNowhere(t *testing.T) {
	t.Parallel()
	const secret = "CLIENT-SHALL-NOT-LEAK"
	h := newHostile(t)
	m := watch(t, withLogin(t, upstreamOf(t, h.internet, "registry.example", registry), user, password), upstreamOf(t, h.internet, "other.example.com", other))
	var header []string
	for _, name := range []string{
		"Authorization", "Proxy-Authorization", "Cookie", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Forwarded", "Via", "From", "Referer", "Origin",
		"X-Registry-Auth", "X-Amz-Security-Token", "X-Api-Key", "Accept", "Accept-Language", "If-None-Match", "If-Modified-Since", "Cache-Control", "Te", "Upgrade", "X-Http-Method-Override", "Traceparent",
	} {
		header = append(header, name, secret)
	}
	header = append(header, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("client:"+secret)), "Via", "1.1 "+secret+", 1.1 mirrord-"+strings.ToLower(secret))
	_, d := content("client")
	for _, path := range []string{h.add("client"), "/v2/" + repository + "/manifests/latest", "/v2/" + repository + "/tags/list", "/v2/" + repository + "/referrers/" + d.String()} {
		for _, ns := range []string{"registry.example", "other.example.com"} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
				m.get(method, path+"?ns="+ns, header...)
			}
		}
	}
	if seen := h.secretsSeen(secret); len(seen) > 0 {
		t.Errorf("it was seen by %q", seen)
	}
	if len(h.all()) < 6 {
		t.Error("nobody was asked")
	}
	m.wantUntold(secret, base64.StdEncoding.EncodeToString([]byte("client:"+secret)))
}

// The client certificate of an upstream is for it and its token service.
func TestClientCertificateStays(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.links.Store(2) // the next one works
	u := withLogin(t, upstreamOf(t, h.internet, "registry.example", registry), user, password)
	transport := upstream.NewTransport(upstream.TransportOptions{
		URL: u.URL, TLS: h.ca.client(), Proxy: h.route(), ClientCertificate: func() (*tls.Certificate, error) { return h.ca.issue("mirror.lan") },
	})
	t.Cleanup(transport.CloseIdleConnections)
	u.Transport = transport
	if w := get(t, handlerOf(t, u), http.MethodGet, h.add("certificate")); w.Code != http.StatusOK {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	seen := make(map[string]string)
	for _, v := range h.all() {
		seen[v.host] = v.client
	}
	if diff := cmp.Diff(map[string]string{registry: "mirror.lan", tokenService: "mirror.lan", cdn: ""}, seen); diff != "" {
		t.Error(diff)
	}
}
