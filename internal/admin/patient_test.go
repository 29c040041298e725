package admin

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p <- server
	return client, nil
}

// What reads a huge cache before it responds may take its time; a mirror that hangs is
// noticed when it is looked for.
func TestPatience(t *testing.T) {
	for name, test := range map[string]struct {
		response any
		ask      func(context.Context, *Client) error
		waits    bool
	}{
		"purge": {Purged{Done: true}, func(ctx context.Context, c *Client) error {
			_, _, err := c.Purge(ctx, []string{"**"}, false)
			return err
		}, true},
		"pin":    {[]Pin{}, func(ctx context.Context, c *Client) error { _, _, err := c.Pin(ctx, []string{"**"}); return err }, true},
		"unpin":  {[]Pin{}, func(ctx context.Context, c *Client) error { _, _, err := c.Unpin(ctx, []string{"**"}); return err }, true},
		"ls":     {[]Image{}, func(ctx context.Context, c *Client) error { _, _, err := c.Images(ctx, ""); return err }, true},
		"lookup": {"/cache", func(ctx context.Context, c *Client) error { _, err := c.Directory(ctx); return err }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := make(pipes)
				server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-time.After(10 * time.Minute):
						_ = json.NewEncoder(w).Encode(test.response)
					case <-r.Context().Done():
					}
				})}
				go func() { _ = server.Serve(listener) }()
				client := NewClient("unix:/admin.sock", "")
				client.http.Transport.(*http.Transport).DialContext = listener.dial
				if err := test.ask(t.Context(), client); (err == nil) != test.waits {
					t.Errorf("after ten minutes: %v", err)
				}
				if err := server.Close(); err != nil {
					t.Error(err)
				}
				synctest.Wait()
			})
		})
	}
}
