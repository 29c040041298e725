package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/oci"
)

// hostile is a request that no client sends, and the status that it gets. It is
// told as the spec has it unless code is empty: then net/http has refused what is
// not HTTP, or there is nothing wrong with it.
type hostile struct {
	request string
	status  int
	code    oci.Code
}

// TestHostileRequests sends hostile requests over bare connections. The upstream
// sees none of them, nothing new is on disk, and the next client is served.
func TestHostileRequests(t *testing.T) {
	c := newCatalog(t)
	c.addLayers(t, "library/cached", 1, 1<<20, 1)
	m := newMirror(t)
	check(t, m.serve(c.upstream()))
	c.pullAll(t, m)
	check(t, m.await("mirrord_fills_in_flight", "0"))
	c.hub.Reset()
	before := filesBelow(t, m.cache)
	for name, h := range hostileRequests("/v2/" + c.blobs[c.largest()].path) {
		t.Run(name, func(t *testing.T) { h.send(t, m.mirror) })
	}
	if n := c.hub.Counters().Requests; n != 0 {
		t.Errorf("the upstream has seen %d requests", n)
	}
	if diff := cmp.Diff(before, filesBelow(t, m.cache)); diff != "" {
		t.Errorf("the disk is not as it was:\n%s", diff)
	}
	c.pullAll(t, m)
}

func hostileRequests(cached string) map[string]hostile {
	hex := strings.Repeat("a", 64)
	requests := map[string]hostile{
		"no HTTP":                 {"HELO mirror\r\n\r\n", 400, ""},
		"TLS":                     {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, ""},
		"no host":                 {"GET " + cached + " HTTP/1.1\r\n\r\n", 400, ""},
		"one large header":        {get(cached, "X: "+strings.Repeat("x", 100<<10)), 431, ""},
		"a flood of headers":      {get(cached, strings.Repeat("X-Flood: 1\r\n", 10_000)+"X: y"), 431, ""},
		"ranges without end":      {get(cached, "Range: bytes="+strings.Repeat("0-1,", 30_000)+"0-1"), 431, ""},
		"a NUL in a header":       {get(cached, "Range: bytes=0-\x00"), 400, ""},
		"a very long query":       {get("/v2/library/cached/manifests/x?ns=" + strings.Repeat("x", 50<<10)), 404, oci.NameUnknown},
		"a longer one":            {get("/v2/library/cached/manifests/x?ns=" + strings.Repeat("x", 100<<10)), 431, ""},
		"a tunnel":                {"CONNECT registry-1.docker.io:443 HTTP/1.1\r\nHost: registry-1.docker.io\r\nConnection: close\r\n\r\n", 405, oci.Unsupported},
		"another host":            {get("http://169.254.169.254/latest/meta-data"), 404, oci.NameUnknown},
		"another host's API":      {get("http://ghcr.io/v2/../manifests/x"), 404, oci.NameUnknown},
		"cached, of another host": {get("http://ghcr.io" + cached), 404, oci.NameUnknown},
		"cached, of an unknown":   {get("http://harbor.corp" + cached), 404, oci.NameUnknown},
		"cached, of its own":      {get("http://registry-1.docker.io" + cached), 200, ""},
		"cached, by its Host":     {strings.Replace(get(cached), "Host: mirror", "Host: ghcr.io", 1), 404, oci.NameUnknown},
		"a body":                  {get(cached, "Content-Length: 4") + "body", 400, oci.Unsupported},
		"an empty body":           {get(cached, "Transfer-Encoding: chunked") + "0\r\n\r\n", 200, ""},
		"ranges that overlap":     {get(cached, "Range: bytes="+strings.Repeat("0-,", 1023)+"0-"), 200, ""},
		"a thousand ranges":       {get(cached, "Range: bytes="+strings.Repeat("7-9,", 1023)+"7-9"), 206, ""},
	}
	for target, code := range map[string]oci.Code{
		"/v2/library%2Fkept/manifests/x":                              oci.NameInvalid,
		"/v2/library/cached%2Fmanifests%2Fx/manifests/x":              oci.NameInvalid,
		"/v2/../library/cached/manifests/x":                           oci.NameInvalid,
		"/v2/library/../../etc/manifests/x":                           oci.NameInvalid,
		"/v2/library/./cached/manifests/x":                            oci.NameInvalid,
		"/v2/%2e%2e/%2e%2e/etc/manifests/x":                           oci.NameInvalid,
		"/v2/..%2f..%2fetc/manifests/x":                               oci.NameInvalid,
		"/v2/library//cached/manifests/x":                             oci.NameInvalid,
		"/v2//library/cached/manifests/x":                             oci.NameInvalid,
		"//v2/library/cached/manifests/x":                             oci.NameUnknown,
		"/v2/library/cached/manifests/x/":                             oci.Unsupported,
		"/../v2/library/cached/manifests/x":                           oci.NameUnknown,
		"/v2/library/cached/manifests/..":                             oci.ManifestUnknown,
		"/v2/library/cached/manifests/%2e%2e%2f%2e%2e":                oci.ManifestUnknown,
		"/v2/library/cached/manifests/a%2Fb":                          oci.ManifestUnknown,
		"/v2/library/cached/manifests/x%00":                           oci.ManifestUnknown,
		"/v2/library/cached%00/manifests/x":                           oci.NameInvalid,
		"/v2/library/k\xff\xfe/manifests/x":                           oci.NameInvalid,
		"/v2/library/cached/manifests/\xff":                           oci.ManifestUnknown,
		"/v2/library/cached/manifests/%ff":                            oci.ManifestUnknown,
		"/v2/library/cached/manifests/" + strings.Repeat("x", 129):    oci.ManifestUnknown,
		"/v2/" + strings.Repeat("x/", 20_000) + "manifests/x":         oci.NameInvalid,
		"/v2/library/cached/blobs/sha256:" + hex[:62] + "..":          oci.DigestInvalid,
		"/v2/library/cached/blobs/sha256:..%2f..%2f" + hex[:54]:       oci.DigestInvalid,
		"/v2/library/cached/blobs/../../../../etc/passwd":             oci.Unsupported,
		"/v2/library/cached/blobs/" + hex + "/../uploads/":            oci.Unsupported,
		"/v2/library/cached/tags/list?n=-" + strings.Repeat("9", 999): oci.Unsupported,
		"/v2/library/cached/tags/list?n=%zz":                          oci.Unsupported,
	} {
		status := 404
		if code == oci.DigestInvalid || strings.Contains(target, "?n=") {
			status = 400
		}
		requests[fmt.Sprintf("%.60q", target)] = hostile{get(target), status, code}
	}
	for _, target := range []string{"/v2/library/ke\x00pt/manifests/x", "/v2/library/cached/manifests/%zz", "/v2/a b/manifests/x", "v2/", ""} {
		requests[fmt.Sprintf("%q is no address", target)] = hostile{get(target), 400, ""}
	}
	return requests
}

// get is a GET of target with more header lines.
func get(target string, header ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n" + strings.Join(append(header, "", ""), "\r\n")
}

func (h hostile) send(t *testing.T, address string) {
	conn, err := net.Dial("tcp", address)
	check(t, err)
	defer func() { _ = conn.Close() }()
	check(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	go func() { _, _ = io.WriteString(conn, h.request) }() // which is cut off when it is too long
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	check(t, err)
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != h.status || len(body) > 2<<20 {
		t.Errorf("%s, %d bytes, %v; want status %d: %.200q", resp.Status, len(body), err, h.status, body)
	}
	var told struct{ Errors []struct{ Code oci.Code } }
	if h.code != "" && (json.Unmarshal(body, &told) != nil || len(told.Errors) != 1 || told.Errors[0].Code != h.code) {
		t.Errorf("%s: %.200q; want code %s", resp.Status, body, h.code)
	}
}

// filesBelow lists a directory but for the index, with sizes.
func filesBelow(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	sizes := make(map[string]int64)
	check(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.Name() == "index":
			return fs.SkipDir
		}
		info, err := entry.Info()
		if err == nil {
			sizes[path] = info.Size()
		}
		return err
	}))
	return sizes
}
