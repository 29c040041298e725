package notify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// receiver is a webhook that remembers the last request.
type receiver struct {
	status int
	header http.Header
	event  cloudEvent
	got    int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	_ = json.Unmarshal(body, &r.event)
	r.header = req.Header
	r.got++
	w.WriteHeader(r.status)
}

func newTested(t *testing.T, targets ...Target) *Notifier {
	client := NewClient(nil)
	t.Cleanup(client.CloseIdleConnections)
	n := New(Options{Source: "/mirrord/here", Client: client})
	n.Set(targets)
	return n
}

// testAll returns the results by target.
func testAll(t *testing.T, n *Notifier, names ...string) map[string]error {
	results := make(map[string]error)
	n.Test(t.Context(), names, func(r TestResult) { results[r.Target] = r.Err })
	return results
}

// An event to test with is sent once, with the headers of the file, to an authority that is
// trusted for this webhook alone, and counts as no delivery.
func TestTest(t *testing.T) {
	r := &receiver{status: http.StatusOK}
	server := httptest.NewTLSServer(r)
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	headers := write(t, "# of the gateway\n\nauthorization: Bearer s3cret:1\r\nX-Team: a\nX-Team: b\nuser-agent: mine\n")
	n := newTested(t,
		Target{Name: "ops", URL: server.URL, HeadersFile: headers, Roots: func() (*x509.CertPool, error) { return roots, nil }},
		Target{Name: "stranger", URL: server.URL},
		Target{Name: "other", URL: server.URL},
	)
	results := testAll(t, n, "ops", "stranger", "absent")
	if len(results) != 2 || results["ops"] != nil {
		t.Fatalf("%+v", results)
	}
	if advice := Advice(results["stranger"]); !strings.Contains(advice, "set ca_file") {
		t.Errorf("%v: %s", results["stranger"], advice)
	}
	if e := r.event; r.got != 1 || e.Type != "mirrord.test" || e.Subject != "ops" || e.Source != "/mirrord/here" {
		t.Errorf("%d requests, the last %+v", r.got, e)
	}
	if h := r.header; h.Get("Authorization") != "Bearer s3cret:1" || len(h.Values("X-Team")) != 2 || h.Get("User-Agent") != "mine" || h.Get("Content-Type") != contentType {
		t.Errorf("%v", h)
	}
	if s := n.Stats()[0]; s.Waiting != 0 || s.Deliveries[Delivered] != 0 {
		t.Errorf("%+v", s)
	}
}

// What was not accepted is not sent again, and the advice is about that.
func TestAdvice(t *testing.T) {
	for status, advice := range map[int]string{
		301: "redirects are not followed", 401: "headers_file", 403: "headers_file", 404: "check the path", 405: "check the path", 407: "the proxy wants a login",
		400: "does not take events", 413: "does not take events", 429: "see its own log", 503: "see its own log",
	} {
		r := &receiver{status: status}
		server := httptest.NewServer(r)
		err := testAll(t, newTested(t, Target{Name: "ops", URL: server.URL}), "ops")["ops"]
		server.Close()
		if err == nil || r.got != 1 || !strings.Contains(Advice(err), advice) {
			t.Errorf("%d requests, %v: %s, want %s", r.got, err, Advice(err), advice)
		}
	}
}

func TestAdviceOnConnections(t *testing.T) {
	plain := httptest.NewServer(&receiver{status: http.StatusOK})
	defer plain.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	secret := write(t, "s3cret")
	for name, test := range map[string]struct {
		target Target
		advice string
	}{
		"plain":   {Target{URL: strings.Replace(plain.URL, "http:", "https:", 1)}, "write http"},
		"closed":  {Target{URL: "http://" + closed.Addr().String()}, "check that the receiver runs"},
		"unknown": {Target{URL: "http://absent.invalid/s3cret"}, "the name is not resolved"},
		"secret":  {Target{URL: plain.URL, SecretFile: secret}, "correct the file"},
		"headers": {Target{URL: plain.URL, HeadersFile: secret}, "correct the file"},
		"roots":   {Target{URL: plain.URL, Roots: func() (*x509.CertPool, error) { return nil, errors.New("no certificate") }}, "correct the file"},
	} {
		err := testAll(t, newTested(t, test.target), "")[""]
		if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(Advice(err), test.advice) {
			t.Errorf("%s: %v: %s, want %s", name, err, Advice(err), test.advice)
		}
	}
}

// A webhook that does not respond does not hold back the result of another one, and is given
// up after ten seconds.
func TestSlowWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Timeout: attemptTime, Transport: silentAt("slow")}
		n := New(Options{Client: client})
		n.Set([]Target{{Name: "a", URL: "http://slow"}, {Name: "b", URL: "http://quick"}})
		begun := time.Now()
		var got []string
		n.Test(t.Context(), n.Targets(), func(r TestResult) {
			got = append(got, fmt.Sprintf("%s after %v: %v", r.Target, time.Since(begun), r.Err == nil))
		})
		if want := []string{"b after 0s: true", "a after 10s: false"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// silentAt is a transport to a host that never responds, and to others that do.
type silentAt string

func (s silentAt) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == string(s) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

// A receiver cannot make the mirror read without end, or send its events elsewhere.
func TestHostileReceivers(t *testing.T) {
	elsewhere := &receiver{status: http.StatusOK}
	internal := httptest.NewServer(elsewhere)
	defer internal.Close()
	endless := func(write func() error) {
		for write() == nil {
		}
	}
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		fails bool
	}{
		"endless body": {serve: func(w http.ResponseWriter, _ *http.Request) {
			endless(func() error { _, err := w.Write(make([]byte, 1<<10)); return err })
		}},
		"endless headers": {fails: true, serve: func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			sent := 0
			endless(func() error {
				n, err := io.WriteString(conn, "X-A: "+strings.Repeat("a", 1<<10)+"\r\n")
				if sent += n; sent > 8<<20 {
					t.Error("8 MiB of headers are read")
					return io.EOF
				}
				return err
			})
		}},
		"internal address": {fails: true, serve: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, internal.URL, http.StatusPermanentRedirect)
		}},
		"loop": {fails: true, serve: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}},
		"file": {fails: true, serve: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusTemporaryRedirect)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.serve)
			defer server.Close()
			err := testAll(t, newTested(t, Target{Name: "ops", URL: server.URL}), "ops")["ops"]
			if (err != nil) != test.fails || elsewhere.got != 0 {
				t.Errorf("%v, %d requests elsewhere", err, elsewhere.got)
			}
		})
	}
}
