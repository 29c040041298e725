package upstream

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/oci"
)

func TestStorageRequestHeaders(t *testing.T) {
	t.Parallel()
	var s *httptest.Server
	told := make(chan http.Header, 9)
	storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		told <- r.Header
		w.Header().Set("Content-Range", "bytes 3-6/7")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write([]byte("tent"))
	})
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			answer(200, `{"token":"abc"}`)(w, r)
			return
		}
		challenging(func() string { return s.URL + "/token" }, func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
			http.Redirect(w, r, storage.URL+"/blob?sig=1", http.StatusTemporaryRedirect)
		})(w, r)
	})
	c := connect(t, s.URL, "ann", "secret-pass")
	body := c.newBody(t.Context(), blobRef(t, oci.FromBytes([]byte("content"))), 3)
	raw := make([]byte, 4)
	_, err := body.Read(raw)
	check(t, err)
	check(t, body.Close())
	want := http.Header{"Range": {"bytes=3-"}, "User-Agent": {userAgent}, "Accept-Encoding": {"identity"}}
	if diff := cmp.Diff(want, <-told); diff != "" {
		t.Error(diff)
	}
}

func TestRedirectRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		upstream, to string
		ok           bool
	}{
		{"https://registry-1.docker.io", "https://production.cloudfront.docker.com/x?Signature=y", true},
		{"https://registry-1.docker.io", "http://production.cloudfront.docker.com/x", false},
		{"https://registry-1.docker.io", "http://registry-1.docker.io/x", false},
		{"https://registry-1.docker.io", "ftp://registry-1.docker.io/x", false},
		{"http://registry.corp", "http://storage.corp/x", true},
		{"http://registry.corp", "https://storage.corp/x", true},
	} {
		u, err := url.Parse(test.upstream)
		check(t, err)
		req, err := http.NewRequest(http.MethodGet, test.to, nil)
		check(t, err)
		if err := redirects(u)(req, []*http.Request{{}}); (err == nil) != test.ok {
			t.Errorf("from %s to %s: %v, want ok %v", test.upstream, test.to, err, test.ok)
		}
	}
}

func TestRedirectLimit(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		hop, hops := 0, 10
		if strings.HasSuffix(r.URL.Path, "hops11") {
			hops = 11
		}
		_, _ = fmt.Sscanf(r.URL.RawQuery, "hop=%d", &hop) // the first request has none
		if hop == hops {
			answer(200, "{}", "Content-Type", imageType)(w, r)
			return
		}
		http.Redirect(w, r, fmt.Sprintf("%s?hop=%d", r.URL.Path, hop+1), http.StatusFound)
	}))
	c := connect(t, s.URL)
	_, err := read(t, c, manifestRef(t, "hops10"))
	check(t, err)
	asked.Store(0)
	_, err = read(t, c, manifestRef(t, "hops11"))
	c.wantCode(t, err, oci.Unavailable)
	if n := asked.Load(); n != 11 {
		t.Errorf("asked %d times, want 11", n)
	}
}

func TestNoRedirectFromHTTPSToHTTP(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	plain := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	s := httptest.NewTLSServer(openly(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/blob?sig=0123456789", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	check(t, err)
	transport := NewTransport(TransportOptions{URL: u})
	transport.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	t.Cleanup(transport.CloseIdleConnections)
	c := connectBy(t, u, transport)
	c.secrets = append(c.secrets, "0123456789")
	_, err = read(t, c, blobRef(t, oci.FromBytes(nil)))
	c.wantCode(t, err, oci.Unavailable)
	if asked.Load() != 0 {
		t.Error("the plain address was asked")
	}
}

// A signed link is told nowhere, whatever is wrong with it.
func TestErrorsContainNoSignature(t *testing.T) {
	t.Parallel()
	const secret = "SIGNATURE-SIGNATURE"
	refusing := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, "<Code>SignatureDoesNotMatch</Code> %s", r.URL.Query().Get("sig"))
	})
	gone := serve(t, answer(200, ""))
	gone.Close()
	for name, location := range map[string]string{
		"refused":      refusing.URL + "/x?sig=" + secret,
		"unreachable":  gone.URL + "/x?sig=" + secret,
		"malformed":    "http://h/%zz?sig=" + secret,
		"quoted":       "http://h/%zz\"?a=\"&sig=" + secret,
		"login":        "http://user:" + secret + "@%zz/",
		"other scheme": "gopher://h/?sig=" + secret,
		"loop":         "?sig=" + secret,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, openly(answer(http.StatusTemporaryRedirect, "", "Location", location)))
			c := connect(t, s.URL)
			c.secrets = append(c.secrets, secret)
			_, err := read(t, c, blobRef(t, oci.FromBytes(nil)))
			c.wantCode(t, err, oci.Unavailable)
			_, err = c.Resolve(t.Context(), blobRef(t, oci.FromBytes(nil)))
			c.wantCode(t, err, oci.Unavailable)
		})
	}
}

func TestErrorsContainNoToken(t *testing.T) {
	t.Parallel()
	var s *httptest.Server
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			answer(200, `{"token":"TOKEN-TOKEN"}`)(w, r)
			return
		}
		challenging(func() string { return s.URL + "/token" }, func(w http.ResponseWriter, r *http.Request) {
			answer(500, "you sent "+r.Header.Get("Authorization"))(w, r)
		})(w, r)
	})
	c := connect(t, s.URL)
	_, err := read(t, c, manifestRef(t, "v1"))
	c.wantCode(t, err, oci.Unavailable)
	if err == nil || !strings.Contains(err.Error(), "you sent Bearer") {
		t.Errorf("%v: the upstream's words are lost", err)
	}
}
