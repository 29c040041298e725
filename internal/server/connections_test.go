package server

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// oneConnection is a ConnectionLimit.
type oneConnection struct {
	mu   sync.Mutex // guards open
	open int
}

func (l *oneConnection) Open(net.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == 1 {
		return false
	}
	l.open++
	return true
}

func (l *oneConnection) Close(net.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
}

func (l *oneConnection) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// A connection too many is closed, and one that has ended makes room, once.
func TestLimitConnections(t *testing.T) {
	t.Parallel()
	tcp, err := Listen("127.0.0.1:0", "listen")
	if err != nil {
		t.Fatal(err)
	}
	limit := new(oneConnection)
	l := LimitConnections(CutSlow(tcp), limit)
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	dial()
	first := <-accepted
	for range 3 {
		refused := dial()
		_ = refused.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := refused.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("one too many: %d bytes, %v", n, err)
		}
	}
	_ = first.Close()
	_ = first.Close()
	if n := limit.count(); n != 0 {
		t.Fatalf("%d are open after the only one has ended twice", n)
	}
	dial()
	second := <-accepted
	_ = second.Close()
	if n := limit.count(); n != 0 {
		t.Errorf("%d are open in the end", n)
	}
	_ = l.Close()
	for range accepted {
		t.Error("another connection")
	}
}

// The kernel still sends files over a connection that is counted, and slow clients are
// still cut.
func TestLimitedConnectionSendsFiles(t *testing.T) {
	t.Parallel()
	var conn net.Conn = &limitedConn{stream: new(progressConn)}
	if _, ok := conn.(io.ReaderFrom); !ok {
		t.Error("it has no ReadFrom")
	}
	if _, ok := conn.(interface{ CloseWrite() error }); !ok {
		t.Error("it has no CloseWrite")
	}
}
