package hubsim

import (
	"net"
	"sync"
	"time"
)

// Lose makes all open connections silent, like a NAT, a load balancer or a proxy that
// has lost its state: the dialling end can still write, but reads nothing, not even
// an EOF.
func (n *Network) Lose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn := range n.dialled {
		conn.lose()
	}
}

// track tracks a connection until it is closed.
func (n *Network) track(conn net.Conn) net.Conn {
	tracked := &dialledConn{Conn: conn, network: n, lost: make(chan struct{}), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dialled == nil {
		n.dialled = make(map[*dialledConn]bool)
	}
	n.dialled[tracked] = true
	return tracked
}

// dialledConn is the dialling end of a connection.
type dialledConn struct {
	net.Conn
	network         *Network
	lost, closed    chan struct{}
	losing, closing sync.Once
}

func (c *dialledConn) lose() {
	c.losing.Do(func() {
		close(c.lost)
		_ = c.SetDeadline(time.Unix(1, 0)) // wakes blocked reads and writes
	})
}

func (c *dialledConn) isLost() bool {
	select {
	case <-c.lost:
		return true
	default:
		return false
	}
}

func (c *dialledConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.isLost() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *dialledConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.isLost() {
		return len(p), nil
	}
	return n, err
}

func (c *dialledConn) Close() error {
	c.closing.Do(func() {
		c.network.mu.Lock()
		defer c.network.mu.Unlock()
		delete(c.network.dialled, c)
		close(c.closed)
	})
	return c.Conn.Close()
}
