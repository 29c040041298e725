package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// inBubble serves handle in memory and returns a client of it.
func inBubble(t *testing.T, handle http.HandlerFunc) *client {
	t.Helper()
	u, transport := inMemory(t, handle)
	return connectBy(t, u, transport)
}

// inMemory serves handle and returns its address, and the way to it.
func inMemory(t *testing.T, handle http.HandlerFunc) (*url.URL, *Transport) {
	t.Helper()
	network := new(hubsim.Network)
	listener, err := network.Listen("registry.example:80")
	check(t, err)
	server := &http.Server{Handler: handle, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(listener) }()
	u, err := url.Parse("http://registry.example")
	check(t, err)
	transport := NewTransport(TransportOptions{URL: u})
	transport.DialContext = network.DialContext
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	return u, transport
}

// A body that is too slow is given up for another try, which resumes it; a slow
// one does not.
func TestSlowBody(t *testing.T) {
	content := ocitest.Content(500_000, 1)
	for name, test := range map[string]struct {
		rate  int // bytes a second, of the first answer
		tries int
	}{"too slow": {100, 2}, "slow": {1000, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tries int
				c := inBubble(t, openly(func(w http.ResponseWriter, r *http.Request) {
					tries++
					rate := test.rate
					if tries > 1 {
						rate = 1 << 30
					}
					http.ServeContent(slowly{w, r.Context(), rate}, r, "", time.Time{}, bytes.NewReader(content))
				}))
				wantBlob(t, c, oci.FromBytes(content), len(content))
				if tries != test.tries {
					t.Errorf("%d tries, want %d", tries, test.tries)
				}
			})
		})
	}
}

// slowly sends at a rate, until the client leaves.
type slowly struct {
	http.ResponseWriter
	ctx  context.Context
	rate int
}

func (s slowly) Write(p []byte) (total int, err error) {
	for len(p) > 0 && err == nil {
		var n int
		n, err = s.ResponseWriter.Write(p[:min(len(p), s.rate)])
		err = errors.Join(err, http.NewResponseController(s.ResponseWriter).Flush(), s.ctx.Err())
		total, p = total+n, p[n:]
		if s.rate == 1<<30 {
			continue
		}
		select {
		case <-time.After(time.Second):
		case <-s.ctx.Done():
		}
	}
	return total, err
}

// stalling sends half of the content and nothing more until the client leaves.
func stalling(content []byte, stalls int) http.HandlerFunc {
	var mu sync.Mutex
	return openly(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		stalls--
		stall := stalls >= 0
		mu.Unlock()
		if !stall {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
}

func TestStalledBodyResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := ocitest.Content(10_000, 1)
		c := inBubble(t, stalling(content, 1))
		begun := time.Now()
		wantBlob(t, c, oci.FromBytes(content), len(content))
		if took := time.Since(begun); took < idleTime || took > idleTime+maxPause {
			t.Errorf("took %v, want %v and a pause", took, idleTime)
		}
	})
}

// The reader's own pauses are no reason to give up.
func TestSlowReaderIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := ocitest.Content(500_000, 2)
		c := inBubble(t, stalling(content, 0))
		opened, err := c.Open(t.Context(), blobRef(t, oci.FromBytes(content)))
		check(t, err)
		raw := make([]byte, len(content))
		_, err = io.ReadFull(opened.Body, raw[:1])
		check(t, err)
		<-time.After(2 * idleTime)
		_, err = io.ReadFull(opened.Body, raw[1:])
		if err != nil || !bytes.Equal(raw, content) {
			t.Errorf("%d bytes, %v", len(raw), err)
		}
		check(t, opened.Close())
		if n := len(c.sent.all()); n != 2 {
			t.Errorf("%d requests, want the ping and 1", n)
		}
	})
}

func TestCancelEndsAStalledRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := ocitest.Content(10_000, 3)
		c := inBubble(t, stalling(content, 9))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		_, _, err := ocitest.Read(ctx, c, blobRef(t, oci.FromBytes(content)))
		if took := time.Since(begun); err == nil || took != time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// A registry that does not answer: everybody is told in less than the 30 s
// that containerd waits.
func TestSilentUpstream(t *testing.T) {
	for name, ask := range map[string]func(context.Context, *client) error{
		"manifest": func(ctx context.Context, c *client) error {
			_, err := c.Open(ctx, manifestRef(t, "v1"))
			return err
		},
		"head": func(ctx context.Context, c *client) error {
			_, err := c.Resolve(ctx, blobRef(t, oci.FromBytes(nil)))
			return err
		},
		"blob": func(ctx context.Context, c *client) error {
			_, err := c.Open(ctx, blobRef(t, oci.FromBytes(nil)))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inBubble(t, openly(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
				begun := time.Now()
				err := ask(t.Context(), c)
				if took := time.Since(begun); oci.CodeOf(err) != oci.Unavailable || took < headerTime || took > 25*time.Second {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// A blob of which no byte comes has not been answered: who asks for it is told
// so, in time to turn to another.
func TestNoFirstByte(t *testing.T) {
	for name, end := range map[string]func(*http.Request){
		"stalled": func(r *http.Request) { <-r.Context().Done() },
		"dropped": func(*http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inBubble(t, openly(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Length", "10")
					check(t, http.NewResponseController(w).Flush())
					end(r)
				}))
				begun := time.Now()
				_, err := c.Open(t.Context(), blobRef(t, oci.FromBytes(nil)))
				c.wantCode(t, err, oci.Unavailable)
				if took := time.Since(begun); took > responseTimeout {
					t.Errorf("told after %v", took)
				}
			})
		})
	}
}

func TestSilentTokenService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inBubble(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		begun := time.Now()
		_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
		c.wantCode(t, err, oci.Unavailable)
		if took := time.Since(begun); took > responseTimeout {
			t.Errorf("took %v", took)
		}
		<-time.After(tokenTime) // the exchange ends by itself
	})
}
