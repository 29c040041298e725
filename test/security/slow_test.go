package security

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
)

// How long a client may take for what it has to send, and how long it may be idle. To
// the first TLS adds five seconds, for its last alert.
const (
	headerTime = 10 * time.Second
	alertTime  = 5 * time.Second
	idleTime   = 2 * time.Minute
)

// untilClosed sends text as slowly as it says, and returns how long the server has
// borne that.
func untilClosed(conn net.Conn, text string, pause time.Duration) time.Duration {
	begun := time.Now()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, conn)
	}()
	for i := 0; ; i++ {
		if i < len(text) {
			_, _ = conn.Write([]byte{text[i]})
		}
		select {
		case <-closed:
			return time.Since(begun)
		case <-time.After(pause):
		}
	}
}

// Slowloris: a client that sends nothing, or its header or TLS hello a byte at a time, is
// cut off, as are a hundred of them, and others are served meanwhile.
func TestSlowClients(t *testing.T) {
	blob, _ := content("slow")
	for name, test := range map[string]struct {
		config func(*authority) *tls.Config
		text   string
		most   time.Duration
	}{
		"nothing":           {nil, "", headerTime},
		"a header":          {nil, "GET /v2/ HTTP/1.1\r\nHost: mirror\r\n" + strings.Repeat("X: y\r\n", 10_000), headerTime},
		"a request line":    {nil, "GET /v2/" + strings.Repeat("x", 100_000), headerTime},
		"empty lines":       {nil, strings.Repeat("\r\n", 10_000), headerTime},
		"no hello":          {present, "", headerTime + alertTime},
		"a hello":           {present, "\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03" + strings.Repeat("\x00", 20_000), headerTime + alertTime},
		"a hello of alerts": {present, strings.Repeat("\x15\x03\x01\x00\x02\x01\x00", 1000), headerTime + alertTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, new(hubsim.Network), blob, test.config)
				took := make(chan time.Duration)
				for range 100 {
					conn := s.dial()
					go func() { took <- untilClosed(conn, test.text, time.Second) }()
				}
				s.wantServes()
				for range 100 {
					if d := <-took; d > test.most+time.Second {
						t.Errorf("a connection was open for %s", d)
					}
				}
			})
		})
	}
}

// A connection on which nothing happens is closed, whatever happened before.
func TestIdleClients(t *testing.T) {
	blob, _ := content("idle")
	synctest.Test(t, func(t *testing.T) {
		plain, secure := serve(t, new(hubsim.Network), blob, nil), serve(t, new(hubsim.Network), blob, present)
		for name, dial := range map[string]func() net.Conn{"plain": plain.dial, "TLS": func() net.Conn { return secure.dialTLS("http/1.1") }} {
			conn := dial()
			_, err := io.WriteString(conn, "GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n")
			check(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			check(t, err)
			readAll(t, resp.Body)
			if d := untilClosed(conn, "", time.Second); d > idleTime+alertTime+time.Second {
				t.Errorf("%s: the connection was open for %s", name, d)
			}
		}
		if d := untilClosed(secure.dialTLS("h2"), "", time.Second); d > idleTime+alertTime {
			t.Errorf("HTTP/2: the connection was open for %s", d)
		}
	})
}
