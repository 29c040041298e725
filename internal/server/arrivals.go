package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// arrivalTime is how long a connection may take for its first request while the server
// drains. net/http would close it without a response: it may have waited for long, in
// a socket that systemd passes from one process to the next.
const arrivalTime = 5 * time.Second

// arrivals are the connections whose first request has not begun.
type arrivals struct {
	waiting atomic.Int64
	open    sync.Map // *arrival by net.Conn, of all connections
}

type arrival struct{ begun atomic.Bool }

type arrivalKey struct{}

// watch counts the connections of a server. It is called before the server serves.
func (a *arrivals) watch(s *http.Server) {
	before := s.ConnContext
	s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if before != nil {
			ctx = before(ctx, conn)
		}
		one := new(arrival)
		a.waiting.Add(1)
		a.open.Store(conn, one)
		return context.WithValue(ctx, arrivalKey{}, one)
	}
	s.ConnState = func(conn net.Conn, state http.ConnState) {
		if state != http.StateClosed && state != http.StateHijacked {
			return
		}
		if one, ok := a.open.LoadAndDelete(conn); ok {
			a.begin(one.(*arrival))
		}
	}
	next := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if one, ok := r.Context().Value(arrivalKey{}).(*arrival); ok {
			a.begin(one)
		}
		next.ServeHTTP(w, r)
	})
}

func (a *arrivals) begin(one *arrival) {
	if !one.begun.Swap(true) {
		a.waiting.Add(-1)
	}
}

// wait returns when each first request has begun, or arrivalTime is over, or ctx.
func (a *arrivals) wait(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, arrivalTime)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for a.waiting.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// onceListener can be closed twice.
type onceListener struct {
	net.Listener
	close func() error
}

func newOnceListener(l net.Listener) onceListener { return onceListener{l, sync.OnceValue(l.Close)} }

func (l onceListener) Close() error { return l.close() }
