package faultmatrix

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"mirrord/internal/hubsim"
)

// The host names of the simulated hub on its network.
const (
	registryHost = "registry-1.docker.io"
	tokenHost    = "auth.docker.io" // another name of the registry
	cdnHost      = "production.cloudfront.docker.com"
)

// line connects the mirror with the hub, with the faults of a network.
type line struct {
	network *hubsim.Network

	mu         sync.Mutex // guards all below
	fault      lineFault
	unexpected []string // dialled hosts that are not the hub's
}

// lineFault is a fault of new connections to a host.
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

// distantConn delivers each response a round trip after the last request.
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

// dialled records a dial to host, and returns the fault of the line.
func (l *line) dialled(host string) lineFault {
	l.mu.Lock()
	defer l.mu.Unlock()
	if host != registryHost && host != tokenHost && host != cdnHost {
		l.unexpected = append(l.unexpected, host)
	}
	return l.fault
}

// unexpectedHosts returns the hosts to which responses of the hub led the mirror.
func (l *line) unexpectedHosts() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unexpected
}

// resetConn is reset when more than that many bytes arrive.
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
