package admin

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What has an effect needs the token, however admin.listen is reached, except over a
// unix socket.
func TestNeedsToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	check(t, os.WriteFile(file, []byte("0123456789abcdef\n"), 0o600))
	token := NewToken(file, "")
	check(t, token.Prepare())
	for name, test := range map[string]struct {
		request, authorization string
		socket                 bool
		want                   int
	}{
		"read":            {"GET /metrics", "", false, 200},
		"act":             {"POST /verify", "", false, 401},
		"wrong token":     {"POST /verify", "Bearer 0123456789abcdeF", false, 401},
		"no token":        {"POST /verify", "Bearer ", false, 401},
		"another scheme":  {"POST /verify", "0123456789abcdef", false, 401},
		"with the token":  {"POST /verify", "Bearer 0123456789abcdef", false, 200},
		"a profile":       {"GET /debug/pprof/heap", "", false, 401},
		"with it, too":    {"GET /debug/pprof/heap", "Bearer 0123456789abcdef", false, 200},
		"over the socket": {"POST /verify", "", true, 200},
		"images":          {"GET /v1/images", "", false, 401},
		"not quite":       {"GET /v1/status/", "", false, 401},
		"figures":         {"GET /v1/status", "", false, 200},
		"their history":   {"GET /v1/history", "", false, 200},
		"live figures":    {"GET /v1/live", "", false, 200},
	} {
		method, path, _ := strings.Cut(test.request, " ")
		var local net.Addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
		if test.socket {
			local = &net.UnixAddr{Name: "/run/admin.sock"}
		}
		r := httptest.NewRequest(method, path, nil)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
		if test.authorization != "" {
			r.Header.Set("Authorization", test.authorization)
		}
		w := httptest.NewRecorder()
		token.need(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		if w.Code != test.want || strings.Contains(w.Body.String(), "0123456789") {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, test.want)
		}
	}
}

// Without a usable token nothing is.
func TestUnusableToken(t *testing.T) {
	for _, text := range []string{"", "short", "with a space in it", strings.Repeat("x", 9) + "\x00\x00\x00\x00\x00\x00\x00"} {
		file := filepath.Join(t.TempDir(), "token")
		check(t, os.WriteFile(file, []byte(text), 0o600))
		token := NewToken(file, "")
		if err := token.Prepare(); err == nil {
			t.Errorf("%q is a token", text)
		}
		r := httptest.NewRequest(http.MethodPost, "/verify", nil)
		r.Header.Set("Authorization", "Bearer "+text)
		if token.isIn(r) {
			t.Errorf("%q is let in", text)
		}
	}
}

// The mirror makes a token once, and again when others could have read it.
func TestMadeToken(t *testing.T) {
	token := NewToken("", t.TempDir())
	made := func() string {
		t.Helper()
		check(t, token.Prepare())
		text, err := token.read()
		check(t, err)
		if !isPrivate(token.path) {
			t.Error("others may read it")
		}
		return text
	}
	first := made()
	if made() != first {
		t.Error("it is another one after a restart")
	}
	check(t, os.Chmod(token.path, 0o644))
	if made() == first {
		t.Error("a token that others could read is still used")
	}
}

// A command that learns the directory from whoever listens sends him no other file.
func TestOtherFilesAreNotSent(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(secret, []byte("root:$6$abcdefghijklmnop"), 0o600))
	check(t, os.Symlink(secret, filepath.Join(dir, tokenName)))
	c := NewClient("127.0.0.1:5001", "")
	if header, err := c.authorization(dir); header != "" || err == nil {
		t.Errorf("it sends %q, %v", header, err)
	}
}

// The listener for metrics has nothing that acts, and a scraper needs no token.
func TestMetricsHandler(t *testing.T) {
	a := New(Options{Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), MetricsListen: "192.0.2.7:9100"})
	local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)}
	for request, want := range map[string]int{
		"GET /metrics": 200, "GET /healthz": 200, "POST /metrics": 405, "GET /quota": 404, "GET /verify": 404, "POST /verify": 404, "GET /debug/pprof/": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		r := httptest.NewRequest(method, path, nil)
		r.Host = "192.0.2.7:9100"
		w := httptest.NewRecorder()
		a.MetricsHandler().ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local)))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", request, w.Code, want)
		}
	}
}
