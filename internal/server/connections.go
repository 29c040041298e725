package server

import (
	"io"
	"net"
	"sync"
)

// ConnectionLimit limits the connections that are open. Open counts one from peer, or
// returns false when it is one too many; otherwise Close is called when it has ended.
// Methods may be called concurrently.
type ConnectionLimit interface {
	Open(peer net.Addr) bool
	Close(peer net.Addr)
}

// LimitConnections returns a listener like l, of CutSlow, that closes connections which
// are too many: at once, before a handshake costs anything.
func LimitConnections(l net.Listener, limit ConnectionLimit) net.Listener {
	return &limitedListener{l, limit}
}

type limitedListener struct {
	net.Listener
	limit ConnectionLimit
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := conn.RemoteAddr()
		if l.limit.Open(peer) {
			return &limitedConn{conn.(stream), sync.OnceFunc(func() { l.limit.Close(peer) })}, nil
		}
		_ = conn.Close() // there is nothing on it that could be lost
	}
}

// stream is what net/http uses of a TCP connection: ReadFrom lets the kernel send a
// file, and CloseWrite lets the end of a response arrive.
type stream interface {
	net.Conn
	io.ReaderFrom
	CloseWrite() error
}

// limitedConn is counted until it is closed.
type limitedConn struct {
	stream
	uncount func()
}

func (c *limitedConn) Close() error {
	defer c.uncount()
	return c.stream.Close()
}
