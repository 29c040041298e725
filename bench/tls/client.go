package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const workers = 4

// client is what loads the servers.
type client struct{ roots *x509.CertPool }

func (c client) config() *tls.Config {
	return &tls.Config{
		RootCAs: c.roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519}, // the best that both have
	}
}

// read reads n bytes of the blob, over connections that stay open.
func (c client) read(s *server, n int64, http2 bool) error {
	transport := &http.Transport{TLSClientConfig: c.config(), ForceAttemptHTTP2: http2}
	defer transport.CloseIdleConnections()
	blobs := n / s.size
	return parallel(int(blobs), func() error {
		resp, err := (&http.Client{Transport: transport}).Get("https://" + s.address + s.path)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		got, err := io.Copy(io.Discard, resp.Body)
		if err == nil && (got != s.size || (resp.ProtoMajor == 2) != http2 || resp.TLS.CipherSuite != tls.TLS_AES_128_GCM_SHA256) {
			err = fmt.Errorf("%d bytes of %d over %s, %s", got, s.size, resp.Proto, tls.CipherSuiteName(resp.TLS.CipherSuite))
		}
		return err
	})
}

// shake makes n handshakes and nothing else.
func (c client) shake(s *server, n int, resumed bool) error {
	config := c.config()
	if resumed {
		session, err := c.session(s)
		if err != nil {
			return err
		}
		config.ClientSessionCache = session
	}
	return parallel(n, func() error {
		conn, err := tls.Dial("tcp", s.address, config)
		if err != nil {
			return err
		}
		if did := conn.ConnectionState().DidResume; did != resumed {
			return errors.Join(fmt.Errorf("resumed: %v", did), conn.Close())
		}
		return conn.Close()
	})
}

// oneSession is a ClientSessionCache that gives the first session again and again.
type oneSession struct {
	mu    sync.Mutex
	state *tls.ClientSessionState
}

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state, o.state != nil
}

func (o *oneSession) Put(_ string, state *tls.ClientSessionState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == nil {
		o.state = state
	}
}

// session returns one that the server has granted.
func (c client) session(s *server) (*oneSession, error) {
	session := new(oneSession)
	config := c.config()
	config.ClientSessionCache = session
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", s.address, config)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-0\r\n\r\n", s.path); err != nil {
		return nil, err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // the ticket comes before the response
		return nil, err
	}
	if _, ok := session.Get(""); !ok {
		return nil, errors.New("the server grants no session")
	}
	return session, nil
}

// parallel calls do n times in some goroutines, until one fails.
func parallel(n int, do func() error) error {
	turns := make(chan struct{}, n)
	for range n {
		turns <- struct{}{}
	}
	close(turns)
	failed := make([]error, workers)
	var running sync.WaitGroup
	for i := range workers {
		running.Go(func() {
			for range turns {
				if failed[i] = do(); failed[i] != nil {
					return
				}
			}
		})
	}
	running.Wait()
	return errors.Join(failed...)
}
