package server

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// A connection that is there when the server drains has its first request served, and
// new ones are refused.
func TestDrainServesWhoIsThere(t *testing.T) {
	for name, security := range map[string]*tls.Config{"plain": nil, "TLS": {Certificates: []tls.Certificate{newAuthority(t).write(t, "mirror", filesIn(t.TempDir()))}}} {
		t.Run(name, func(t *testing.T) {
			l, err := Listen("127.0.0.1:0", "listen")
			if err != nil {
				t.Fatal(err)
			}
			s := New(CutSlow(l), Options{TLS: security, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })})
			served, drained := make(chan error, 1), make(chan error, 1)
			go func() { served <- s.Serve() }()
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			await(t, func() bool { return s.arrivals.waiting.Load() == 1 })
			go func() { drained <- s.Drain(time.Minute) }()
			await(t, func() bool {
				late, err := net.Dial("tcp", l.Addr().String())
				if err == nil {
					_ = late.Close()
				}
				return err != nil
			})
			if security != nil {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: mirror\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "served" || !resp.Close {
				t.Errorf("got %q, %v; close %v", body, err, resp.Close)
			}
			for what, ended := range map[string]chan error{"Drain": drained, "Serve": served} {
				if err := <-ended; err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

func await(t *testing.T, holds func() bool) {
	t.Helper()
	for range 1000 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("took too long")
}
