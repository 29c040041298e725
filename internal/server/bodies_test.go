package server

import (
	"bufio"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
)

const mirrorAt = "mirror.lan:5000"

// serveMemory serves on a network in memory until the end of t's bubble.
func serveMemory(t *testing.T, o Options) *hubsim.Network {
	t.Helper()
	network := new(hubsim.Network)
	listener, err := network.Listen(mirrorAt)
	check(t, err)
	o.ErrorLog = log.New(io.Discard, "", 0)
	s := New(listener, o)
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		check(t, s.Close())
		check(t, <-done)
	})
	return network
}

func dial(t *testing.T, network *hubsim.Network) net.Conn {
	t.Helper()
	conn, err := network.DialContext(t.Context(), "", mirrorAt)
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// A client that announces a body and sends a part of it does not occupy its connection
// for longer than that may take.
func TestBodyThatDoesNotArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := serveMemory(t, Options{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
		for _, header := range []string{"Content-Length: 9", "Transfer-Encoding: chunked"} {
			conn := dial(t, network)
			check(t, conn.SetDeadline(time.Now().Add(time.Hour)))
			begun := time.Now()
			_, err := io.WriteString(conn, "PUT / HTTP/1.1\r\nHost: mirror\r\n"+header+"\r\n\r\n1")
			check(t, err)
			_, err = io.Copy(io.Discard, conn)
			if took := time.Since(begun); took > bodyTime || err != nil {
				t.Errorf("%s: the connection was open for %s, %v", header, took, err)
			}
		}
	})
}

// A response may take longer than the body of its request, and ends the connection.
func TestLongResponseAfterABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := serveMemory(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			check(t, err)
			<-time.After(10 * bodyTime)
			if err := r.Context().Err(); err != nil {
				t.Errorf("the request ended with %v", err)
			}
			_, _ = w.Write(body)
		})})
		conn := dial(t, network)
		_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: mirror\r\nContent-Length: 4\r\n\r\nbody")
		check(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		check(t, err)
		body, err := io.ReadAll(resp.Body)
		if string(body) != "body" || err != nil || !resp.Close {
			t.Errorf("%q, %v, closes %v", body, err, resp.Close)
		}
	})
}
