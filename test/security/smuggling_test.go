package security

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// smuggled is a request that must not be taken for one.
const smuggled = "GET /v2/smuggled/app/manifests/x HTTP/1.1\r\nHost: mirror\r\n\r\n"

// ambiguous are requests in which one server sees the smuggled request and another a part
// of the body or the header. Each is what follows the Host.
var ambiguous = map[string]string{
	"CL.TE":                         "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
	"TE.CL":                         "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + smuggled,
	"CL.TE, all in the body":        "Content-Length: 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
	"TE.TE":                         "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled,
	"TE.TE, unknown":                "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, a list":                    "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, chunked twice":             "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, not the last":              "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, another word":              "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, quoted":                    "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, a tab":                     "Transfer-Encoding:\tchunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, a vertical tab":            "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, a space before the colon":  "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, a space before the name":   " Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, folded":                    "Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, after a bare CR":           "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, after a bare LF":           "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, with a NUL":                "Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, other letters":             "Transfer-Encoding: chun\xc5\xbfed\r\n\r\n0\r\n\r\n" + smuggled,
	"TE, an underscore":             "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + smuggled,
	"two CLs":                       "Content-Length: 0\r\nContent-Length: 60\r\n\r\n" + smuggled,
	"two CLs, the other way":        "Content-Length: 60\r\nContent-Length: 0\r\n\r\n" + smuggled,
	"CL, a list":                    "Content-Length: 0, 60\r\n\r\n" + smuggled,
	"CL, a sign":                    "Content-Length: +60\r\n\r\n" + smuggled,
	"CL, negative":                  "Content-Length: -1\r\n\r\n" + smuggled,
	"CL, hexadecimal":               "Content-Length: 0x3c\r\n\r\n" + smuggled,
	"CL, overflowing":               "Content-Length: 18446744073709551616\r\n\r\n" + smuggled,
	"CL, a space in it":             "Content-Length: 6 0\r\n\r\n" + smuggled,
	"CL, folded":                    "Content-Length:\r\n 50\r\n\r\n" + smuggled,
	"CL, a space before the colon":  "Content-Length : 60\r\n\r\n" + smuggled,
	"CL, empty":                     "Content-Length:\r\nContent-Length: 60\r\n\r\n" + smuggled,
	"CL too short":                  "Content-Length: 4\r\n\r\nbody" + smuggled,
	"a chunk with a bare LF":        "Transfer-Encoding: chunked\r\n\r\n2\nxx\r\n0\r\n\r\n" + smuggled,
	"a chunk that is too long":      "Transfer-Encoding: chunked\r\n\r\n2\r\nxxxx\r\n0\r\n\r\n" + smuggled,
	"a chunk with a sign":           "Transfer-Encoding: chunked\r\n\r\n+2\r\nxx\r\n0\r\n\r\n" + smuggled,
	"a chunk of 0x":                 "Transfer-Encoding: chunked\r\n\r\n0x2\r\nxx\r\n0\r\n\r\n" + smuggled,
	"a chunk that overflows":        "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\nxx\r\n0\r\n\r\n" + smuggled,
	"a chunk extension with a LF":   "Transfer-Encoding: chunked\r\n\r\n2;a\nb\r\nxx\r\n0\r\n\r\n" + smuggled,
	"a trailer":                     "Transfer-Encoding: chunked\r\nTrailer: Host\r\n\r\n0\r\nHost: ghcr.io\r\n\r\n" + smuggled,
	"two hosts":                     "Host: ghcr.io\r\n\r\n" + smuggled,
	"a host with a space":           "X: y\r\nHost : ghcr.io\r\n\r\n" + smuggled,
	"a header without a colon":      "GET /v2/smuggled/app/manifests/x HTTP/1.1\r\n\r\n" + smuggled,
	"a header with a NUL":           "X: \x00\r\n\r\n" + smuggled,
	"a header name with a NUL":      "X\x00: y\r\n\r\n" + smuggled,
	"a header without a name":       ": y\r\n\r\n" + smuggled,
	"a header name with a space":    "X Y: z\r\n\r\n" + smuggled,
	"an unknown expectation":        "Expect: 200-ok\r\nContent-Length: 4\r\n\r\nbody" + smuggled,
	"a continuation that never was": "Expect: 100-continue\r\nContent-Length: 59\r\n\r\n" + smuggled,
}

// What one server takes for the end of a request and another for a part of it ends the
// connection, over plain HTTP and over TLS.
func TestNothingIsSmuggled(t *testing.T) {
	t.Parallel()
	blob, _ := content("smuggling")
	plain, secure := serve(t, nil, blob, nil), serve(t, nil, blob, present)
	for name, rest := range ambiguous {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT"} {
			for _, s := range []*served{plain, secure} {
				conn := s.dial()
				if s.ca != nil {
					_ = conn.Close()
					conn = s.dialTLS("http/1.1")
				}
				statuses := exchange(t, conn, method+" "+s.path+" HTTP/1.1\r\nHost: mirror\r\n"+rest)
				if len(statuses) != 1 {
					t.Errorf("%s %s: statuses %v", method, name, statuses)
				}
				if asked := s.arrived(); slices.ContainsFunc(asked, func(uri string) bool { return strings.Contains(uri, "smuggled") }) {
					t.Errorf("%s %s: %q has arrived", method, name, asked)
				}
			}
		}
	}
	plain.wantServes()
	secure.wantServes()
}

// exchange sends requests and returns the statuses of the responses until the server
// closes the connection.
func exchange(t *testing.T, conn net.Conn, requests string) (statuses []int) {
	t.Helper()
	defer func() { _ = conn.Close() }()
	check(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	go func() { _, _ = io.WriteString(conn, requests) }() // may be cut off
	method, _, _ := strings.Cut(requests, " ")
	for responses := bufio.NewReader(conn); ; {
		resp, err := http.ReadResponse(responses, &http.Request{Method: method})
		var expired net.Error
		if errors.As(err, &expired) && expired.Timeout() {
			t.Errorf("%.300q: the connection stays open", requests)
		}
		if err != nil {
			return statuses
		}
		if resp.StatusCode != http.StatusContinue {
			statuses = append(statuses, resp.StatusCode)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}

// Requests that follow one another are served in their order, up to the one that is
// wrong.
func TestPipelining(t *testing.T) {
	t.Parallel()
	blob, _ := content("pipelining")
	s := serve(t, nil, blob, nil)
	good := "GET " + s.path + " HTTP/1.1\r\nHost: mirror\r\n\r\n"
	absent := "GET /v2/team/absent/manifests/x HTTP/1.1\r\nHost: mirror\r\n\r\n"
	last := "GET /v2/ HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n"
	for name, test := range map[string]struct {
		requests string
		want     []int
	}{
		"good":       {good + absent + good + last, []int{200, 404, 200, 200}},
		"many":       {strings.Repeat(good, 200) + last, slices.Repeat([]int{200}, 201)},
		"bad":        {good + "GET " + s.path + " HTTP/1.1\r\n\r\n" + smuggled, []int{200, 400}},
		"no HTTP":    {good + "SMTP\r\n\r\n" + smuggled, []int{200, 400}},
		"version 9":  {good + "GET /v2/ HTTP/9.9\r\nHost: mirror\r\n\r\n" + smuggled, []int{200, 505}},
		"old":        {good + "GET /v2/ HTTP/1.0\r\n\r\n" + smuggled, []int{200, 200}},
		"0.9":        {"GET /v2/\r\n\r\n" + smuggled, []int{400}},
		"body":       {good + "GET " + s.path + " HTTP/1.1\r\nHost: mirror\r\nContent-Length: 4\r\n\r\nbody" + smuggled, []int{200, 400}},
		"preface":    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + smuggled, []int{405}},
		"upgrade":    {strings.Replace(last, "Connection: close", "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", 1), []int{200}},
		"tunnel":     {"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\nConnection: close\r\n\r\n" + smuggled, []int{405}},
		"asterisk":   {"OPTIONS * HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n" + smuggled, []int{200}},
		"long line":  {"GET /v2/" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: mirror\r\n\r\n" + smuggled, []int{431}},
		"many lines": {"GET /v2/ HTTP/1.1\r\nHost: mirror\r\n" + strings.Repeat("X: y\r\n", 50_000) + "\r\n" + smuggled, []int{431}},
	} {
		if got := exchange(t, s.dial(), test.requests); !slices.Equal(got, test.want) {
			t.Errorf("%s: statuses %v, want %v", name, got, test.want)
		}
		for _, uri := range s.arrived() {
			if strings.Contains(uri, "smuggled") {
				t.Errorf("%s: %s has arrived", name, uri)
			}
		}
	}
	s.wantServes()
}

// A body without an end is not read to its end.
func TestEndlessBody(t *testing.T) {
	t.Parallel()
	blob, _ := content("endless")
	s := serve(t, nil, blob, nil)
	for _, header := range []string{"Content-Length: 9223372036854775807", "Transfer-Encoding: chunked"} {
		conn := s.dial()
		check(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		_, err := io.WriteString(conn, "PUT "+s.path+" HTTP/1.1\r\nHost: mirror\r\n"+header+"\r\n\r\n")
		check(t, err)
		chunk := []byte("10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n")
		sent := 0
		for err == nil {
			var n int
			n, err = conn.Write(chunk)
			sent += n
		}
		var expired net.Error
		if errors.As(err, &expired) && expired.Timeout() || sent > 64<<20 {
			t.Errorf("%s: %d bytes were taken, %v", header, sent, err)
		}
	}
	s.wantServes()
}
