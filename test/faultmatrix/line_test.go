package faultmatrix

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"mirrord/internal/hubsim"
)

// The names that the simulated hub has on its network.
const (
	registryHost = "registry-1.docker.io"
	tokenHost    = "auth.docker.io" // the registry by another name
	cdnHost      = "production.cloudfront.docker.com"
)

// line connects the mirror with the hub, and fails as a network does.
type line struct {
	network *hubsim.Network

	mu     sync.Mutex // guards all below
	fault  lineFault
	astray []string // hosts that were dialled and are not the hub's
}

// lineFault is what happens to new connections to a host.
type lineFault struct {
	host  string // empty: any
	err   error  // of the dial
	reset bool   // the connection is reset after
	after int    // so many bytes from the hub

	distance time.Duration // a round trip
}

func (l *line) set(f lineFault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
}

func (l *line) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	fault := l.dialled(host)
	struck := fault.host == "" || fault.host == host
	if struck && fault.err != nil {
		return nil, fault.err
	}
	if struck {
		<-time.After(fault.distance)
	}
	if host == tokenHost {
		host = registryHost
	}
	conn, err := l.network.DialContext(ctx, network, net.JoinHostPort(host, port))
	if err == nil && struck && fault.reset {
		conn = &resetConn{conn, fault.after}
	}
	if err == nil && struck && fault.distance > 0 {
		conn = &distantConn{Conn: conn, trip: fault.distance}
	}
	return conn, err
}

// distantConn has each answer come a round trip after what was sent last.
type distantConn struct {
	net.Conn
	trip time.Duration

	mu   sync.Mutex // guards sent
	sent time.Time
}

func (c *distantConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.sent = time.Now()
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *distantConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	sent := c.sent
	c.mu.Unlock()
	if err == nil {
		<-time.After(time.Until(sent.Add(c.trip)))
	}
	return n, err
}

// dialled notes a dial to host, and returns the fault of the line.
func (l *line) dialled(host string) lineFault {
	l.mu.Lock()
	defer l.mu.Unlock()
	if host != registryHost && host != tokenHost && host != cdnHost {
		l.astray = append(l.astray, host)
	}
	return l.fault
}

// led returns where the mirror was led to by the hub's answers.
func (l *line) led() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.astray
}

// resetConn is reset after so many bytes, when another one comes.
type resetConn struct {
	net.Conn
	left int
}

func (c *resetConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), max(1, c.left))])
	if n > c.left {
		_ = c.Close()
		return 0, &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: syscall.ECONNRESET}
	}
	c.left -= n
	return n, err
}
