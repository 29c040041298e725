package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"mirrord/internal/hubsim"
)

// configured starts a mirror with a configuration file, in which the words @NAME@ are
// replaced. It has the two listeners of the process and those of the file.
func configured(t *testing.T, yaml string, words ...string) *process {
	t.Helper()
	m := newMirror(t)
	path := filepath.Join(m.home, "mirrord.yaml")
	check(t, os.WriteFile(path, []byte(strings.NewReplacer(words...).Replace(yaml)), 0o600))
	check(t, m.serve("--config", path))
	return m
}

// recorded is a Docker Hub that remembers what it was sent.
type recorded struct {
	hub *hubsim.Hub
	url string

	mu      sync.Mutex // guards headers
	headers []string
}

func newRecorded(t *testing.T) *recorded {
	t.Helper()
	hub, err := hubsim.Start(hubsim.Options{NoAuth: true})
	check(t, err)
	t.Cleanup(hub.Close)
	img, err := hubsim.Layers(2, 10_000, 1, hubsim.OCI)
	check(t, err)
	_, err = hub.AddImage("library/a", "latest", img)
	check(t, err)
	to, err := url.Parse(hub.URL())
	check(t, err)
	rec := &recorded{hub: hub}
	forward := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec.mu.Lock()
		rec.headers = append(rec.headers, fmt.Sprint(r.URL, r.Header))
		rec.mu.Unlock()
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	rec.url = front.URL
	return rec
}

// What clients send along to prove who they are goes nowhere: not to the upstream, the
// log or the metrics.
func TestCredentialsGoNowhere(t *testing.T) {
	const secret = "xyzzy-0123456789abcdef"
	rec := newRecorded(t)
	closed := mustAddress(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	check(t, os.WriteFile(tokens, []byte("ci:"+secret), 0o600))
	m := configured(t, "log: {level: debug}\nlisteners: [{address: '@CLOSED@', auth: {tokens: @TOKENS@}}]\nupstreams: [{name: docker.io, url: '@HUB@'}]\n",
		"@CLOSED@", closed, "@TOKENS@", tokens, "@HUB@", rec.url)
	for _, address := range []string{m.mirror, closed} {
		for _, authorization := range []string{"Bearer " + secret, "Bearer " + secret + "-wrong", "Basic eHl6enk6eHl6enktMDEyMzQ1Njc4OWFiY2RlZg==", secret} {
			for _, path := range []string{"/v2/", "/v2/library/a/manifests/latest", "/v2/library/a/tags/list", "/v2/library/b/manifests/latest?account=x"} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
				check(t, err)
				for _, header := range []string{"Cookie", "Proxy-Authorization", "X-Registry-Auth"} {
					req.Header.Set(header, secret)
				}
				req.Header.Set("Authorization", authorization)
				resp, err := client.Do(req)
				check(t, err)
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if address == m.mirror && resp.StatusCode == http.StatusUnauthorized {
					t.Errorf("an open listener asks for a login: %s", path)
				}
			}
		}
	}
	pull := puller{base: "http://x:" + secret + "@" + closed + "/v2/library/a"}
	check(t, pull.pull("latest"))
	_, metrics, err := m.ask("/metrics")
	check(t, err)
	check(t, m.end(terminate))
	rec.mu.Lock()
	defer rec.mu.Unlock()
	sent := strings.Join(rec.headers, "\n")
	for name, text := range map[string]string{"upstream": sent, "log": m.text(), "metrics": metrics} {
		if strings.Contains(text, "xyzzy") || strings.Contains(text, "eHl6enk6") {
			t.Errorf("the %s has a credential:\n%s", name, text)
		}
	}
	if n := rec.hub.Counters(); len(rec.headers) == 0 || n.CDNGETs == 0 || n.CDNAuthorization+n.OtherAuthorization > 0 {
		t.Errorf("%d requests, counters %+v", len(rec.headers), n)
	}
}

// A trusted proxy names the client in a header or by the PROXY protocol, for limits,
// rules and the log; others cannot.
func TestClientBehindProxies(t *testing.T) {
	rec := newRecorded(t)
	proxied := mustAddress(t)
	m := configured(t, "clients: {trusted_proxies: 127.0.0.1, deny: 203.0.113.66, allow: [203.0.113.0/24, 127.0.0.1]}\n"+
		"listeners: [{address: '@PROXIED@', proxy_protocol: true}]\nupstreams: [{name: docker.io, url: '@HUB@'}]\n", "@PROXIED@", proxied, "@HUB@", rec.url)
	forwarded := func(name string) string {
		return "GET /v2/ HTTP/1.1\r\nHost: m\r\nX-Forwarded-For: " + name + "\r\nConnection: close\r\n\r\n"
	}
	for _, test := range []struct {
		address, text string
		status        int
	}{
		{m.mirror, forwarded("203.0.113.1"), http.StatusOK},
		{m.mirror, forwarded("203.0.113.66"), http.StatusForbidden},
		{m.mirror, forwarded("192.0.2.1"), http.StatusForbidden},
		{proxied, "PROXY TCP4 203.0.113.2 192.0.2.80 4711 80\r\n" + forwarded("203.0.113.9"), http.StatusOK}, // that one is no proxy
		{proxied, "PROXY TCP4 203.0.113.66 192.0.2.80 4711 80\r\n" + forwarded("203.0.113.1"), http.StatusForbidden},
	} {
		conn, err := net.Dial("tcp", test.address)
		check(t, err)
		_, err = io.WriteString(conn, test.text)
		check(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != test.status {
			t.Errorf("%q: %v, %v; want %d", test.text, resp, err, test.status)
		}
		_ = conn.Close()
	}
	check(t, m.end(terminate))
	for _, want := range []string{"203.0.113.1", "203.0.113.66", "192.0.2.1", "203.0.113.2"} {
		if !strings.Contains(m.text(), `"client":"`+want+`"`) {
			t.Errorf("the log does not name %s:\n%s", want, m.text())
		}
	}
}

// A certificate or a password is enough, and the log has the name of each.
func TestCertificateOrPassword(t *testing.T) {
	rec := newRecorded(t)
	dir := t.TempDir()
	cert, key, users := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "htpasswd")
	own := writeCertificate(t, cert, key) // of the mirror, its client and their authority
	hash, err := bcrypt.GenerateFromPassword([]byte("wonder"), bcrypt.MinCost)
	check(t, err)
	check(t, os.WriteFile(users, []byte("alice:"+string(hash)), 0o600))
	either, only, forced := mustAddress(t), mustAddress(t), mustAddress(t)
	m := configured(t, "listeners:\n"+
		"- {address: '@EITHER@', tls: {cert_file: @C@, key_file: @K@, client_ca_file: @C@}, auth: {client_certificates: true, htpasswd: @H@}}\n"+
		"- {address: '@ONLY@', tls: {cert_file: @C@, key_file: @K@, client_ca_file: @C@}, auth: {client_certificates: true}}\n"+
		"- {address: '@FORCED@', tls: {cert_file: @C@, key_file: @K@, client_ca_file: @C@}, auth: {htpasswd: @H@}}\n"+
		"upstreams: [{name: docker.io, url: '@HUB@'}]\n",
		"@EITHER@", either, "@ONLY@", only, "@FORCED@", forced, "@C@", cert, "@K@", key, "@H@", users, "@HUB@", rec.url)
	roots := x509.NewCertPool()
	roots.AddCert(own.Leaf)
	for name, test := range map[string]struct {
		address     string
		certificate bool
		user        string // before the address in the URL
		want        int    // 0: no connection
	}{
		"certificate":                 {either, true, "", http.StatusOK},
		"password":                    {either, false, "alice:wonder@", http.StatusOK},
		"wrong password":              {either, false, "alice:x@", http.StatusUnauthorized},
		"neither":                     {either, false, "", http.StatusUnauthorized},
		"only: certificate":           {only, true, "", http.StatusOK},
		"only: none":                  {only, false, "alice:wonder@", 0},
		"both: certificate":           {forced, true, "", http.StatusUnauthorized},
		"both: certificate, password": {forced, true, "alice:wonder@", http.StatusOK},
		"both: no certificate":        {forced, false, "alice:wonder@", 0},
	} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		if test.certificate {
			transport.TLSClientConfig.Certificates = []tls.Certificate{own}
		}
		resp, err := (&http.Client{Transport: transport}).Get("https://" + test.user + test.address + "/v2/")
		if test.want == 0 && err == nil || test.want != 0 && (err != nil || resp.StatusCode != test.want) {
			t.Errorf("%s: %v, %v; want %d", name, resp, err, test.want)
		}
		if err == nil {
			_ = resp.Body.Close()
		}
		transport.CloseIdleConnections()
	}
	check(t, m.end(terminate))
	for _, want := range []string{`"user":"user:alice"`, `"user":"cert:CN=mirror"`} {
		if !strings.Contains(m.text(), want) {
			t.Errorf("no %s in the log:\n%s", want, m.text())
		}
	}
}

func mustAddress(t *testing.T) string {
	t.Helper()
	address, err := freeAddress()
	check(t, err)
	return address
}
