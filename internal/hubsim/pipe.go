package hubsim

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// Network is a network in memory with arbitrary host names. It is for bubbles of
// testing/synctest, where time does not advance while a goroutine waits for a socket.
// Connections have no buffer: a write waits for reads of the other end. The zero value
// is ready to use; methods may be called concurrently.
type Network struct {
	mu        sync.Mutex // guards the fields below
	listeners map[string]*pipeListener
	dialled   map[*dialledConn]bool // open connections
}

// Listen listens on an address of the form host:port. It fails with EADDRINUSE until
// an earlier listener on it is closed.
func (n *Network) Listen(address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: pipeNetwork, Addr: pipeAddr(address), Err: syscall.EADDRINUSE}
	}
	if n.listeners == nil {
		n.listeners = make(map[string]*pipeListener)
	}
	l := &pipeListener{network: n, addr: pipeAddr(address), dialled: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[address] = l
	return l, nil
}

// DialContext waits until the listener at the address accepts, or ctx is done. It
// fails with ECONNREFUSED when there is no listener.
func (n *Network) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: pipeNetwork, Addr: pipeAddr(address), Err: syscall.ECONNREFUSED}
	if l == nil {
		return nil, refused
	}
	near, far := net.Pipe()
	select {
	case l.dialled <- &pipeConn{Conn: far, local: l.addr, remote: memoryClient}:
		return n.track(&pipeConn{Conn: near, local: memoryClient, remote: l.addr}), nil
	case <-l.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", address, context.Cause(ctx))
	}
}

const pipeNetwork = "pipe"

type pipeAddr string

func (pipeAddr) Network() string  { return pipeNetwork }
func (a pipeAddr) String() string { return string(a) }

type pipeListener struct {
	network *Network
	addr    pipeAddr
	dialled chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *pipeListener) Addr() net.Addr { return l.addr }

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.dialled:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close does not close accepted connections.
func (l *pipeListener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		delete(l.network.listeners, string(l.addr))
		close(l.closed)
	})
	return nil
}

type pipeConn struct {
	net.Conn
	local, remote pipeAddr
}

func (c *pipeConn) LocalAddr() net.Addr  { return c.local }
func (c *pipeConn) RemoteAddr() net.Addr { return c.remote }
