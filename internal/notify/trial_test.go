package notify

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
	results := n.Test(t.Context(), []string{"ops", "stranger", "absent"})
	if len(results) != 2 || results[0] != (TestResult{Target: "ops"}) || results[1].Target != "stranger" {
		t.Fatalf("%+v", results)
	}
	if !strings.Contains(Advice(results[1].Err), "set ca_file") {
		t.Errorf("%v: %s", results[1].Err, Advice(results[1].Err))
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
		result := newTested(t, Target{Name: "ops", URL: server.URL}).Test(t.Context(), []string{"ops"})[0]
		server.Close()
		if result.Err == nil || r.got != 1 || !strings.Contains(Advice(result.Err), advice) {
			t.Errorf("%d requests, %v: %s, want %s", r.got, result.Err, Advice(result.Err), advice)
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
		result := newTested(t, test.target).Test(t.Context(), []string{""})[0]
		if result.Err == nil || strings.Contains(result.Err.Error(), "s3cret") || !strings.Contains(Advice(result.Err), test.advice) {
			t.Errorf("%s: %v: %s, want %s", name, result.Err, Advice(result.Err), test.advice)
		}
	}
}
