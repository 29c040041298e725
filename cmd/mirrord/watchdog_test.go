package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mirrord/internal/config"
	"mirrord/internal/server"
)

// busyInterval is short, but long enough for a loaded machine.
const busyInterval = 4 * time.Second

// The watchdog notifies after each check that succeeds, and only then.
func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = time.Minute
		var fails atomic.Bool
		var hangs, told atomic.Int64
		w := &watchdog{interval: interval, log: zap.NewNop(), notify: func() { told.Add(1) }, check: func(ctx context.Context) error {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > interval/2 {
				t.Error("a check may take longer than half of the interval")
			}
			time.Sleep(time.Duration(hangs.Load()))
			if fails.Load() {
				return errors.New("no response")
			}
			return nil
		}}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.run(ctx) }()
		notified := func(during time.Duration) int64 {
			before := told.Load()
			time.Sleep(during)
			synctest.Wait()
			return told.Load() - before
		}
		if n := notified(2 * interval); n != 8 {
			t.Errorf("%d notifications in two intervals", n)
		}
		fails.Store(true)
		if n := notified(2 * interval); n != 0 {
			t.Errorf("%d notifications while the check fails", n)
		}
		fails.Store(false)
		hangs.Store(int64(2 * interval))
		if n := notified(interval + interval/2); n != 0 {
			t.Errorf("%d notifications while the check hangs", n)
		}
		hangs.Store(0)
		if n := notified(2 * interval); n == 0 {
			t.Error("no notification after the check works again")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Silence is a failure; a refusal, or the end of the connection, is a response.
func TestAskSelf(t *testing.T) {
	for name, test := range map[string]struct {
		serve    http.HandlerFunc
		listener config.Listener
		fails    bool
	}{
		"answer":  {serve: func(http.ResponseWriter, *http.Request) {}},
		"refusal": {serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }},
		"redirect": {serve: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}},
		"cut":        {serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		"no TLS":     {serve: func(http.ResponseWriter, *http.Request) {}, listener: config.Listener{TLS: config.TLS{CertFile: "f"}}},
		"no PROXY":   {serve: func(http.ResponseWriter, *http.Request) {}, listener: config.Listener{ProxyProtocol: true}},
		"silence":    {serve: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, fails: true},
		"half of it": {serve: func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); <-r.Context().Done() }, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := server.Listen("127.0.0.1:0", "listen")
			check(t, err)
			s := server.New(l, server.Options{Handler: test.serve, ErrorLog: zap.NewStdLog(zap.NewNop())})
			go func() { _ = s.Serve() }()
			defer func() { _ = s.Close() }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := newSelf().ask(ctx, test.listener, l.Addr()); (err != nil) != test.fails {
				t.Errorf("got %v", err)
			}
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := newSelf().ask(ctx, config.Listener{}, l.Addr()); err == nil {
		t.Error("nobody accepts connections, and the mirror is alive")
	}
	check(t, l.Close())
	if err := newSelf().ask(t.Context(), config.Listener{}, l.Addr()); err != nil {
		t.Errorf("a listener that is closed: %v", err)
	}
}

// The real mirror shows that it lives, whoever may use it, and leaves no trace of that. One
// that is stopped does not.
func TestWatchdogOfTheMirror(t *testing.T) {
	m := newMirror(t)
	check(t, os.WriteFile(filepath.Join(m.home, "tokens"), []byte("ci:"+strings.Repeat("0123456789abcdef", 2)+"\n"), 0o600))
	writeCertificate(t, filepath.Join(m.home, "cert.pem"), filepath.Join(m.home, "key.pem"))
	check(t, os.WriteFile(filepath.Join(m.home, "mirrord.yaml"), []byte(`
clients: {allow: [192.0.2.0/24, 127.0.0.2], max_connections: 1, requests_per_second: 1, trusted_proxies: [127.0.0.1]}
access: {audit_log: audit.jsonl}
upstreams: [{name: docker.io, url: 'http://127.0.0.1:9'}]
listeners:
  - {address: '127.0.0.1:0', auth: {tokens: tokens}}
  - {address: '127.0.0.1:0', proxy_protocol: true}
  - {address: '127.0.0.1:0', tls: {cert_file: cert.pem, key_file: key.pem}}
  - {address: '127.0.0.1:0', tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem}}
`), 0o600))
	const interval = 2 * time.Second
	n := m.notified(t, interval)
	check(t, m.start("--config=mirrord.yaml"))
	n.want(t, m.text, "READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1")
	m.signal(syscall.SIGSTOP)
	for n.next(t, interval) != "" { // sent before it stopped
	}
	m.signal(syscall.SIGCONT)
	n.want(t, m.text, "WATCHDOG=1")
	for _, metric := range []string{"mirrord_requests_total", "mirrord_clients_refused_total"} {
		for series, value := range m.metrics(t) {
			if strings.HasPrefix(series, metric) && value > 0 {
				t.Errorf("the mirror has counted its own requests: %s %v", series, value)
			}
		}
	}
	m.signal(terminate)
	for got := "WATCHDOG=1"; got != "STOPPING=1"; got = n.next(t, interval) {
		if got != "WATCHDOG=1" {
			t.Fatalf("got %q", got)
		}
	}
	check(t, <-m.ended)
	m.running = nil
	if audit, err := os.ReadFile(filepath.Join(m.home, "audit.jsonl")); err != nil || len(audit) > 0 {
		t.Errorf("the mirror has audited its own requests: %v\n%s", err, audit)
	}
	for _, word := range []string{`"msg":"request"`, "PROXY header", "handshake", "does not respond"} {
		if strings.Contains(m.text(), word) {
			t.Errorf("the log has %s:\n%s", word, m.text())
		}
	}
}

// A mirror that serves as fast as it can is alive.
func TestWatchdogUnderLoad(t *testing.T) {
	c := newCatalog(t)
	c.addLayers(t, "library/image", 3, 200_000, 1)
	m := newMirror(t)
	n := m.notified(t, busyInterval)
	check(t, m.serve(c.upstream()))
	n.want(t, m.text, "READY=1")
	ctx, stop := context.WithCancel(t.Context())
	var load errgroup.Group
	for range 20 {
		load.Go(func() error {
			for ctx.Err() == nil {
				p := puller{base: "http://" + m.mirror + "/v2/library/image"}
				if err := p.pull("latest"); err != nil {
					return err
				}
			}
			return nil
		})
	}
	n.alive(t, 2*busyInterval, busyInterval)
	stop()
	check(t, load.Wait())
}
