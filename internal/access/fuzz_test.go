package access

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"mirrord/internal/oci"
)

// Whatever a client writes into the headers of proxies, it is the address that the proxy
// has appended, on the same line or on one of its own.
func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{"", "10.0.0.1", `for="`, `for=10.0.0.1;by="a,`, ",", `"\`, "203.0.113.1, ", "[", "for=10.0.0.1\r\n"} {
		f.Add(seed)
	}
	const real = "203.0.113.9"
	f.Fuzz(func(t *testing.T, text string) {
		for _, lines := range [][2][]string{
			{{text + ", " + real}, nil},
			{{text, real}, nil},
			{{text, real, "10.0.0.2"}, nil},
			{nil, {text + ", for=" + real}},
			{nil, {text, `proto=https; for="` + real + `:4711"`}},
		} {
			r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
			r.RemoteAddr = "10.0.0.1:1"
			r.Header["X-Forwarded-For"], r.Header["Forwarded"] = lines[0], lines[1]
			if got := clientAddress(r, trusted).String(); got != real {
				t.Errorf("%q: %s", lines, got)
			}
		}
		// A client that is no proxy changes nothing, nor does one of two headers that disagree.
		r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
		r.RemoteAddr = "192.0.2.1:1"
		r.Header["X-Forwarded-For"], r.Header["Forwarded"] = []string{text}, []string{text}
		if got := clientAddress(r, trusted).String(); got != "192.0.2.1" {
			t.Errorf("%q names %s", text, got)
		}
		r.RemoteAddr = "10.0.0.1:1"
		r.Header["X-Forwarded-For"], r.Header["Forwarded"] = []string{real}, []string{text}
		if got := clientAddress(r, trusted).String(); got != real && got != "10.0.0.1" {
			t.Errorf("%q beside %s names %s", text, real, got)
		}
	})
}

// No Authorization but that of a user gets in, and none is answered but with the errors
// for it.
func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{"", "Basic", "Basic YTpi", "Bearer x", "bearer ey.ey.ey", "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2EifQ.", "Basic %%%", "Basic Og=="} {
		f.Add(seed)
	}
	gate := NewGate(GateOptions{LoginFailed: func(LoginFailure) {}, IssuerFailed: func(string, error) {}})
	path := filepath.Join(f.TempDir(), "htpasswd")
	if err := os.WriteFile(path, []byte("alice:$2y$05$"+"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 0o600); err != nil {
		f.Fatal(err)
	}
	auth, err := gate.NewAuth(AuthOptions{Htpasswd: path, Issuers: []Issuer{{URL: "http://127.0.0.1:1", Audience: "m"}}})
	if err != nil {
		f.Fatal(err)
	}
	auth.verifiers[1].(*passwords).compare = func(_, _ []byte) error { return errors.New("no") }
	f.Fuzz(func(t *testing.T, text string) {
		gate.failures = newFailures()
		r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
		r.Header["Authorization"] = []string{text}
		client, err := ask(gate, auth, r)
		if code := oci.CodeOf(err); err == nil || len(client.Names) > 0 || code != oci.Unauthorized && code != oci.Unavailable {
			t.Errorf("%q: %v, %v", text, client, err)
		}
	})
}
