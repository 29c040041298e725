package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// A hundred downloads are in flight during the drain: of nine blobs that arrive
// slowly from the upstream, and of a cached one whose clients read slowly.
const (
	slowBlobs   = 9
	fillReaders = 10 // of each
	slowReaders = 10
	slowPiece   = 256 << 10
	slowPace    = 50 * time.Millisecond
)

// download is one answer that is read.
type download struct {
	body  io.ReadCloser
	want  oci.Digest
	pace  time.Duration // between pieces
	ended chan error
}

// narrow takes little from the network that is not read.
var narrow = &http.Client{Transport: &http.Transport{
	DisableKeepAlives: true,
	DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		}
		return conn, err
	},
}}

// begin asks for a blob and reads it when its answer has begun.
func begin(t *testing.T, m *process, path string, want oci.Digest, pace time.Duration) *download {
	t.Helper()
	resp, err := narrow.Get("http://" + m.mirror + "/v2/" + path)
	check(t, err)
	d := &download{resp.Body, want, pace, make(chan error, 1)}
	go func() { d.ended <- d.read() }()
	return d
}

func (d *download) read() error {
	defer func() { _ = d.body.Close() }()
	digester := digest.Canonical.Digester()
	for {
		_, err := io.CopyN(digester.Hash(), d.body, slowPiece)
		switch {
		case err == io.EOF && digester.Digest() == d.want:
			return nil
		case err == io.EOF:
			return errWrong
		case err != nil:
			return err
		}
		pause(context.Background(), d.pace)
	}
}

// beginAll begins a hundred downloads of some seconds.
func beginAll(t *testing.T, m *process) []*download {
	t.Helper()
	c := newCatalog(t)
	c.addLayers(t, "library/slow", slowBlobs, 1<<20, 1)
	c.addLayers(t, "library/cached", 1, 12<<20, 2)
	check(t, m.serve(c.upstream()))
	cached := puller{base: "http://" + m.mirror + "/v2/library/cached"}
	check(t, cached.pull("latest"))
	c.hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: 400 << 10})
	var all []*download
	for d, blob := range c.blobs {
		readers, pace := fillReaders, time.Duration(0)
		if strings.HasPrefix(blob.path, "library/cached/") {
			readers, pace = slowReaders, slowPace
		}
		if len(blob.bytes) >= 1<<20 {
			for range readers {
				all = append(all, begin(t, m, blob.path, d, pace))
			}
		}
	}
	return all
}

// TestDrain tells a mirror to stop in the middle of a hundred downloads: each of
// them gets all of its bytes, new connections are refused, and then it ends.
func TestDrain(t *testing.T) {
	m := newMirror(t)
	downloads := beginAll(t, m)
	m.signal(terminate)
	check(t, m.poll("the drain", m.draining))
	check(t, m.poll("refusal", func() bool { return refused(m.mirror) }))
	if len(downloads) != slowBlobs*fillReaders+slowReaders {
		t.Errorf("%d downloads are in flight", len(downloads))
	}
	for _, d := range downloads {
		if len(d.ended) > 0 {
			t.Fatalf("a download has ended already: %v", <-d.ended)
		}
	}
	for _, d := range downloads {
		if err := <-d.ended; err != nil {
			t.Errorf("a download was cut: %v", err)
		}
	}
	select {
	case err := <-m.ended:
		m.running = nil
		if err != nil {
			t.Errorf("the mirror ended with %v\n%s", err, m.text())
		}
	case <-time.After(5 * time.Second):
		t.Error("all downloads have ended, and the mirror is still running")
	}
}

func refused(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// draining reports whether the mirror says that it drains.
func (p *process) draining() bool {
	status, body, err := p.ask("/readyz")
	return err == nil && status == http.StatusServiceUnavailable && body == "draining\n"
}

// A second signal ends the mirror in the middle of its drain.
func TestSecondSignal(t *testing.T) {
	m := newMirror(t)
	downloads := beginAll(t, m)
	m.signal(terminate)
	check(t, m.poll("the drain", m.draining))
	begun := time.Now()
	var exit *exec.ExitError
	if err := m.end(terminate); !errors.As(err, &exit) || exit.String() != "signal: terminated" || time.Since(begun) > 2*time.Second {
		t.Errorf("after the second signal it took %s to end with %v", time.Since(begun), err)
	}
	for _, d := range downloads {
		if err := <-d.ended; err == nil {
			t.Error("a download of some seconds came to a good end")
		}
	}
}
