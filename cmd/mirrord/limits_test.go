package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// nowhere is an upstream that nothing listens on.
const nowhere = "name=docker.io,url=http://127.0.0.1:1"

// A client that sends more than its requests a second waits, and is refused when its
// turn is too far off.
func TestClientsRequestsPerSecond(t *testing.T) {
	const burst, more = 200, 30
	m := newMirror(t)
	check(t, m.serve("--upstream", nowhere, "--clients-catalog=true", "--clients-requests-per-second=1"))
	list := func(ctx context.Context) *http.Response {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.mirror+"/v2/_catalog", nil)
		check(t, err)
		resp, err := client.Do(req)
		if err != nil {
			return nil
		}
		_ = resp.Body.Close()
		return resp
	}
	for range burst {
		if resp := list(t.Context()); resp == nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("within the burst: %+v", resp)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	refused := make(chan *http.Response, more)
	var all sync.WaitGroup
	for range more {
		all.Go(func() {
			if resp := list(ctx); resp != nil && resp.StatusCode != http.StatusOK {
				refused <- resp
			}
		})
	}
	resp := <-refused
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("beyond it: %s, %v", resp.Status, resp.Header)
	}
	leave() // the others wait
	all.Wait()
	if n := m.metrics(t)[`mirrord_clients_refused_total{limit="requests_per_second"}`]; n < 1 {
		t.Error("the refusal is not counted")
	}
	check(t, m.end(terminate))
}

// Cached blobs are sent no faster than the bandwidth of their client, or of all.
func TestClientsBandwidth(t *testing.T) {
	const size, limit, pulls, least = 300_000, "256KiB", 2, 3500 * time.Millisecond // 4.5 s without the burst
	c := newCatalog(t)
	c.addLayers(t, "library/two", 2, size, 1)
	m := newMirror(t)
	check(t, m.serve(c.upstream()))
	c.pullAll(t, m)
	check(t, m.end(terminate))
	for _, flag := range []string{"--clients-bandwidth", "--clients-total-bandwidth"} {
		check(t, m.serve(c.upstream(), flag+"="+limit))
		begun := time.Now()
		for range pulls {
			c.pullAll(t, m)
		}
		if took := time.Since(begun); took < least {
			t.Errorf("%s: %d pulls of %d bytes took %s", flag, pulls, 2*size, took)
		}
		if waited := m.metrics(t)[`mirrord_clients_waited_seconds_total{limit="bandwidth"}`]; waited < least.Seconds() {
			t.Errorf("%s: %.1f s of waiting are counted", flag, waited)
		}
		check(t, m.end(terminate))
	}
}

// The connections of a client are limited over all listeners, before TLS or a request;
// those of a trusted proxy are not.
func TestClientsConnections(t *testing.T) {
	const limit = 3
	m := newMirror(t)
	other, err := freeAddress()
	check(t, err)
	// open opens one connection more than the limit, in turn to both listeners.
	open := func() (held []net.Conn) {
		for i := range limit + 1 {
			conn, err := net.Dial("tcp", []string{m.mirror, other}[i%2])
			check(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			held = append(held, conn)
			if i < limit {
				_, err = io.WriteString(conn, "GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n")
				check(t, err)
				_, err = conn.Read(make([]byte, 1))
				check(t, err)
			}
		}
		return held
	}
	flags := []string{"--upstream", nowhere, "--listener", "address=" + other, "--clients-max-connections", strconv.Itoa(limit)}
	check(t, m.serve(flags...))
	held := open()
	last := held[limit]
	check(t, last.SetReadDeadline(time.Now().Add(10*time.Second)))
	if n, err := last.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("one too many: %d bytes, %v", n, err)
	}
	if n := m.metrics(t)[`mirrord_clients_refused_total{limit="max_connections"}`]; n != 1 {
		t.Errorf("%.0f refusals are counted", n)
	}
	check(t, m.poll("the log to tell of it", func() bool {
		return strings.Count(m.text(), "as many as clients.max_connections allows") == 1
	}))
	check(t, held[0].Close())
	check(t, m.poll("room after one has ended", func() bool {
		resp, err := client.Get("http://" + m.mirror + "/v2/")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	}))
	client.CloseIdleConnections()
	check(t, m.end(terminate))

	check(t, m.serve(append(flags, "--clients-trusted-proxies", "127.0.0.0/8")...))
	last = open()[limit]
	_, err = io.WriteString(last, "GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n")
	check(t, err)
	_, err = last.Read(make([]byte, 1))
	check(t, err)
	check(t, m.end(terminate))
}
