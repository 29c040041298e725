package hubsim

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
)

// endpoint is an address of the hub that can go down and come back up.
type endpoint struct {
	handler http.Handler
	listen  func(address string) (net.Listener, error)
	tls     *tls.Config // nil: plain HTTP

	mu        sync.Mutex // guards the fields below; not held while serving
	addr      string     // with the real port after the first up
	announced string     // what clients are told instead; empty: addr
	server    *http.Server
	cancel    context.CancelFunc // ends the requests of server

	work sync.WaitGroup // the accept loop and the handlers
}

func (e *endpoint) address() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.addr
}

// root returns the URL of the endpoint that clients are told.
func (e *endpoint) root() string { return e.url(e.public()) }

// url returns the root URL of address, without the default port.
func (e *endpoint) url(address string) string {
	if e.tls != nil {
		return "https://" + strings.TrimSuffix(address, ":443")
	}
	return "http://" + strings.TrimSuffix(address, ":80")
}

func (e *endpoint) announce(address string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.announced = address
}

// public returns the address that clients are told.
func (e *endpoint) public() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return cmp.Or(e.announced, e.addr)
}

// up listens and serves, unless it already does.
func (e *endpoint) up() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server != nil {
		return nil
	}
	listener, err := e.listen(e.addr)
	if err != nil {
		return err
	}
	e.addr = listener.Addr().String()
	if e.tls != nil {
		listener = tls.NewListener(listener, e.tls)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{
		Handler:     e,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	e.server, e.cancel = server, cancel
	e.work.Go(func() { _ = server.Serve(listener) })
	return nil
}

// down cuts all connections and waits for the handlers.
func (e *endpoint) down() {
	e.mu.Lock()
	server, cancel := e.server, e.cancel
	e.server = nil
	e.mu.Unlock()
	if server == nil {
		return
	}
	_ = server.Close()
	cancel()
	e.work.Wait()
}

// ServeHTTP tracks the handlers, so that down can wait for them.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !e.enter() {
		panic(http.ErrAbortHandler)
	}
	defer e.work.Done()
	e.handler.ServeHTTP(w, r)
}

func (e *endpoint) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil {
		return false
	}
	e.work.Add(1)
	return true
}
