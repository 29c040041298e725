// Package server serves HTTP: listeners, bounds on what a client may take, a cut
// for clients that stop reading, and draining.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Server serves one handler on one listener. Serve may run while Drain or Close is
// called.
type Server struct {
	listener net.Listener
	http     *http.Server
	arrivals arrivals
	draining atomic.Bool
}

// Options of a Server. ErrorLog may be nil, as in net/http.
type Options struct {
	Handler  http.Handler
	TLS      *tls.Config // nil: plain HTTP
	ErrorLog *log.Logger

	// ConnContext is that of net/http; nil: none.
	ConnContext func(context.Context, net.Conn) context.Context
}

// New returns a Server on l, which it closes. It bounds what a client may take
// before its request is known.
func New(l net.Listener, o Options) *Server { return newServer(l, o, progressTime) }

func newServer(l net.Listener, o Options, progressTime time.Duration) *Server {
	if o.TLS != nil {
		o.Handler = cutSlowStreams(o.Handler, progressTime)
	}
	s := &Server{listener: newOnceListener(l), http: &http.Server{
		Handler:           boundBodies(o.Handler),
		TLSConfig:         o.TLS,
		ErrorLog:          o.ErrorLog,
		ConnContext:       o.ConnContext,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10, // podman's 1024 ranges take half of it
	}}
	s.arrivals.watch(s.http)
	return s
}

// Addr is the address that is listened on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve serves until Drain or Close, and fails when it cannot.
func (s *Server) Serve() error {
	serve := s.http.Serve
	if s.http.TLSConfig != nil {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	if err := serve(s.listener); !errors.Is(err, http.ErrServerClosed) && !s.draining.Load() {
		return fmt.Errorf("serve %s: %w", s.listener.Addr(), err)
	}
	return nil
}

// Drain accepts no more connections, serves the first request of those that are there,
// lets requests in flight finish, and cuts off those that take longer than limit.
func (s *Server) Drain(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s.draining.Store(true)
	if err := s.listener.Close(); err != nil {
		return fmt.Errorf("drain %s: %w", s.listener.Addr(), err)
	}
	s.http.SetKeepAlivesEnabled(false)
	s.arrivals.wait(ctx)
	if err := s.http.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		return s.http.Close()
	} else if err != nil {
		return fmt.Errorf("drain %s: %w", s.listener.Addr(), err)
	}
	return nil
}

// Close cuts off everything at once.
func (s *Server) Close() error { return s.http.Close() }
