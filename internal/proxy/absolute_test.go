package proxy

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"

	"mirrord/internal/oci"
)

// A target in absolute form is served when its host is that of an upstream, or the
// address of the mirror, as RFC 9112, section 3.2.2, requires; the mirror is no forward
// proxy for others.
func TestAbsoluteTargets(t *testing.T) {
	t.Parallel()
	m := start(t, filled())
	own := m.server.Listener.Addr().String()
	for host, ok := range map[string]bool{
		own: true, "docker.io": true, "hub.mirror.example:5000": true,
		"mirror": false, "quay.io": false, "169.254.169.254": false, "localhost": false, "127.0.0.1:1": false, "[::1]": false,
	} {
		r := m.raw("http://" + host + blobPath)
		if ok {
			r.want(t, http.StatusOK, string(blob))
			continue
		}
		r.wantError(t, http.StatusNotFound, oci.NameUnknown)
	}
}

// A GET or HEAD with a body is refused; an empty body is as good as none.
func TestBodies(t *testing.T) {
	t.Parallel()
	m := start(t, filled())
	for framing, status := range map[string]int{
		"Content-Length: 0\r\n\r\n":                             200,
		"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n":           200,
		"Content-Length: 4\r\n\r\nbody":                         400,
		"Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n": 400,
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			conn, err := net.Dial("tcp", m.server.Listener.Addr().String())
			check(t, err)
			_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: mirror\r\n%s", method, blobPath, framing)
			check(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
			check(t, err)
			if resp.StatusCode != status {
				t.Errorf("%s with %q: status %d, want %d", method, framing, resp.StatusCode, status)
			}
			check(t, conn.Close())
		}
	}
}
