package upstream

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Reach asks for the registry's /v2/, over either protocol, and a 5xx is no
// registry's answer.
func TestReach(t *testing.T) {
	onBoth(t, func(t *testing.T, http2 bool) {
		code, path := http.StatusUnauthorized, ""
		_, _, b := behindRelay(t, http2, func(w http.ResponseWriter, r *http.Request) {
			path = r.URL.Path
			w.WriteHeader(code)
		})
		check(t, b.Reach(t.Context()))
		if path != "/v2/" {
			t.Errorf("asked for %q", path)
		}
		code = http.StatusBadGateway
		if b.Reach(t.Context()) == nil {
			t.Error("a registry that answers 502 is said to be well")
		}
	})
}

// An upstream whose address is not allowed is told so.
func TestReachPrivate(t *testing.T) {
	at := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	transport := NewTransport(TransportOptions{URL: &url.URL{Scheme: "https", Host: "registry.example"}})
	defer transport.CloseIdleConnections()
	b := NewBreakers(BreakerOptions{Name: "a", URL: at, Next: transport, Opened: func(string, error) {}, Closed: func(string) {}})
	if err := b.Reach(t.Context()); !errors.Is(err, errPrivate) || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Error(err)
	}
}
