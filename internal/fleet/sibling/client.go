package sibling

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
)

// Errors of Open. Any other says that the sibling cannot be reached, or is not the one that
// was meant.
var (
	// ErrNotHere says that the sibling does not have it, or may not give it away.
	ErrNotHere = errors.New("the other mirror does not have it")
	// ErrBusy says that it may have it later.
	ErrBusy = errors.New("the other mirror cannot send it now")
)

// Target is the sibling that is asked.
type Target struct {
	Addr string // host:port
	Boot string // of its process
}

// ClientOptions of a Client.
type ClientOptions struct {
	Secret    keys.Secret
	Node      string            // the name of this mirror
	Transport http.RoundTripper // nil: the network, without a proxy
}

// Client asks siblings. Its methods may be called concurrently.
type Client struct {
	node string
	key  []byte
	http *http.Client

	mu    sync.Mutex               // guards skews
	skews map[string]time.Duration // by address: how far the clock of a sibling is ahead
}

const (
	dialTime   = time.Second
	headerTime = 3 * time.Second
)

// NewClient returns a Client.
func NewClient(o ClientOptions) *Client {
	c := &Client{node: o.Node, key: o.Secret.Derive(purpose), skews: make(map[string]time.Duration)}
	transport := o.Transport
	if transport == nil {
		transport = &http.Transport{
			DialContext:           (&net.Dialer{Timeout: dialTime}).DialContext,
			ResponseHeaderTimeout: headerTime,
			MaxIdleConnsPerHost:   8,
			IdleConnTimeout:       30 * time.Second,
			DisableCompression:    true,
		}
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c
}

// Close closes the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Stream is content from an offset to its end. The caller closes it.
type Stream struct {
	io.ReadCloser
	Size int64 // of all of the content
}

// Open asks a sibling for d from an offset on. ctx bounds the stream.
func (c *Client) Open(ctx context.Context, to Target, d oci.Digest, from int64) (*Stream, error) {
	stream, skewed, err := c.ask(ctx, to, d, from)
	if skewed {
		stream, _, err = c.ask(ctx, to, d, from)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the mirror at %s: %w", to.Addr, err)
	}
	return stream, nil
}

// ask asks once. skewed says that it was signed at the wrong time, and that the right one is
// known now.
func (c *Client) ask(ctx context.Context, to Target, d oci.Digest, from int64) (_ *Stream, skewed bool, err error) {
	url := "http://" + to.Addr + Path + d.Algorithm().String() + "/" + d.Encoded()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, false, err
	}
	if from > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
	}
	sign := credentials{node: c.node, to: to.Boot, at: time.Now().Add(c.skew(to.Addr)).UnixMilli(), nonce: rand.Text()}
	req.Header.Set("Authorization", sign.header(c.key, req))
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, false, err
	}
	if resp.StatusCode == http.StatusOK && from == 0 || resp.StatusCode == http.StatusPartialContent {
		size, err := sizeOf(resp, from)
		if err != nil {
			_ = resp.Body.Close()
			return nil, false, err
		}
		return &Stream{resp.Body, size}, false, nil
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		now, ok := parseClock(resp.Header.Get(timeHeader), c.key, sign.nonce)
		if ok {
			c.setSkew(to.Addr, time.Until(time.UnixMilli(now)))
		}
		return nil, ok, errors.New("it refuses the request: it is another process, or has another secret")
	case http.StatusNotFound:
		return nil, false, ErrNotHere
	case http.StatusServiceUnavailable:
		return nil, false, ErrBusy
	}
	return nil, false, fmt.Errorf("it responds with %s", resp.Status)
}

// sizeOf is the size of the content of which resp has the bytes from an offset on (RFC 9110,
// sections 8.6 and 14.4).
func sizeOf(resp *http.Response, from int64) (int64, error) {
	if from == 0 && resp.StatusCode == http.StatusOK {
		if resp.ContentLength < 0 {
			return 0, errors.New("it does not say the size")
		}
		return resp.ContentLength, nil
	}
	span, total, ok := strings.Cut(resp.Header.Get("Content-Range"), "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if !ok || err != nil || span != fmt.Sprintf("bytes %d-%d", from, size-1) || resp.ContentLength != size-from {
		return 0, fmt.Errorf("it sends the range %q where that from %d was asked for", resp.Header.Get("Content-Range"), from)
	}
	return size, nil
}

func (c *Client) skew(addr string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skews[addr]
}

const maxSkews = 4096 // siblings whose clocks are known to differ

func (c *Client) setSkew(addr string, skew time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.skews) >= maxSkews {
		clear(c.skews)
	}
	c.skews[addr] = skew
}
