package main

import (
	"io"
	"net"
	"testing"
)

const (
	silent      = 1000 // connections of each kind
	connections = 3 * silent
	perConn     = 100 << 10 // bytes of memory, at most; the race detector doubles them
)

// Thousands of connections that say nothing, begin a request and do not end it,
// or have had their answer: clients beside them are served, the first two kinds
// are gone after ten seconds, and in the end nothing is left of any.
func TestThousandsOfConnections(t *testing.T) {
	c := newCatalog(t)
	c.addLayers(t, "library/small", 2, 40_000, 1)
	m := newMirror(t)
	check(t, m.serve(c.upstream()))
	c.pullAll(t, m)
	client.CloseIdleConnections()
	before := m.settle(t)
	var held []net.Conn
	for i := range connections {
		conn, err := net.Dial("tcp", m.mirror)
		check(t, err)
		held = append(held, conn)
		_, err = io.WriteString(conn, []string{"", "GET /v2/ HTTP/1.1\r\nHost: mirror\r\nX-Half: ", "GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n"}[i%3])
		check(t, err)
	}
	open := func(least, most float64) func() bool {
		return func() bool {
			n := m.metrics(t)["process_open_fds"] - before.files
			return n >= least && n <= most
		}
	}
	check(t, m.poll("all connections to be open", open(connections, connections+100)))
	if grown := m.metrics(t)["process_resident_memory_bytes"] - before.resident; grown > connections*perConn {
		t.Errorf("%d connections take %.0f MiB", connections, grown/(1<<20))
	}
	c.pullAll(t, m)
	check(t, m.poll("those without a request to be closed", open(silent, silent+100)))
	for _, conn := range held {
		_ = conn.Close() // most are closed from the other end
	}
	client.CloseIdleConnections()
	check(t, m.poll("nothing to be left of them", func() bool {
		now := m.levels(t)
		return now.goroutines <= before.goroutines+goroutinesMore && now.files <= before.files
	}))
	check(t, m.end(terminate))
}
