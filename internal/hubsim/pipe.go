package hubsim

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// Network is a network in memory, under any names: it is for bubbles of
// testing/synctest, where a socket would keep the time from passing. A
// connection holds no bytes: a write waits for the reads of the other end. The
// zero value has nobody on it; methods may be called concurrently.
type Network struct {
	mu        sync.Mutex // guards all below
	listeners map[string]*pipeListener
	dialled   map[*dialledConn]bool // and not closed yet
}

// Listen takes an address of the form host:port until the listener is closed.
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

// DialContext waits until who listens at the address accepts, or ctx ends. It
// is refused where nobody listens.
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
		return n.keep(&pipeConn{Conn: near, local: memoryClient, remote: l.addr}), nil
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

// Close leaves accepted connections alone.
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
