package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"mirrord/internal/cache"
)

const (
	responseTime = 10 * time.Second // until a response begins
	maxResponse  = 16 << 20         // bytes of a response that is read whole
	maxRefusal   = 1 << 10          // bytes of a response that refuses
)

// ErrNoMirror says that no mirror responds.
var ErrNoMirror = errors.New("no mirror responds")

// Client asks a running mirror. Its methods may be called concurrently; they fail
// with ErrNoMirror, or with what the mirror says instead of 200.
type Client struct {
	listen    string
	tokenFile string
	http      http.Client
}

// NewClient returns a client of the mirror whose admin.listen is listen and whose
// admin.token_file is tokenFile. It uses no proxy: none has any business between the two.
func NewClient(listen, tokenFile string) *Client {
	dialer := net.Dialer{Timeout: responseTime}
	return &Client{listen: listen, tokenFile: tokenFile, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if path, ok := SocketPath(listen); ok {
				network, address = "unix", path
			}
			return dialer.DialContext(ctx, network, address)
		},
		ResponseHeaderTimeout: responseTime,
		DisableKeepAlives:     true,
	}}}
}

// SocketPath returns the path of the unix socket that listen, a value of admin.listen,
// names.
func SocketPath(listen string) (string, bool) { return strings.CutPrefix(listen, "unix:") }

// authorization returns the header with the token of the mirror whose directory is dir.
// It is empty for a unix socket, which needs none, and for a mirror of an older version,
// which has none.
func (c *Client) authorization(dir string) (string, error) {
	if _, ok := SocketPath(c.listen); ok {
		return "", nil
	}
	token, err := NewToken(c.tokenFile, dir).read()
	if errors.Is(err, fs.ErrNotExist) && c.tokenFile == "" {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the token of the mirror at %s: %w; run this as its user or as root, or name the file with --admin-token-file", c.listen, err)
	}
	return "Bearer " + token, nil
}

// Budgets returns the budgets of the mirror's credentials, and as the mirror sent
// them: a newer one may have fields that Budget lacks.
func (c *Client) Budgets(ctx context.Context) (budgets []Budget, raw []byte, err error) {
	resp, err := c.do(ctx, http.MethodGet, "/quota", "")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if raw, err = io.ReadAll(io.LimitReader(resp.Body, maxResponse)); err != nil {
		return nil, nil, fmt.Errorf("ask the mirror at %s: %w", c.listen, err)
	}
	if err := json.Unmarshal(raw, &budgets); err != nil {
		return nil, nil, fmt.Errorf("the mirror at %s sends invalid budgets: %w", c.listen, err)
	}
	return budgets, raw, nil
}

// Ready returns what the mirror says of its readiness: what it works without, if
// anything. It fails while the mirror drains.
func (c *Client) Ready(ctx context.Context) ([]byte, error) {
	resp, err := c.do(ctx, http.MethodGet, "/readyz", "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return io.ReadAll(io.LimitReader(resp.Body, maxResponse))
}

// Directory returns the cache directory of the mirror.
func (c *Client) Directory(ctx context.Context) (string, error) {
	resp, err := c.do(ctx, http.MethodGet, "/verify", "")
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	dir := strings.TrimSuffix(string(text), "\n")
	if err == nil && !filepath.IsAbs(dir) {
		err = fmt.Errorf("what responds at %s is not a mirror", c.listen)
	}
	return dir, err
}

// Verify verifies the cache of the mirror, whose directory is dir, as cache.Verify
// does.
func (c *Client) Verify(ctx context.Context, dir string, repair bool, progress func(cache.Findings, *cache.Fault)) (found cache.Findings, err error) {
	authorization, err := c.authorization(dir)
	if err != nil {
		return found, err
	}
	resp, err := c.do(ctx, http.MethodPost, fmt.Sprintf("/verify?repair=%t&dir=%s", repair, url.QueryEscape(dir)), authorization)
	if err != nil {
		return found, err
	}
	defer func() { _ = resp.Body.Close() }()
	for decoder := json.NewDecoder(resp.Body); ; {
		var line Finding
		err := decoder.Decode(&line)
		if ctx.Err() != nil {
			return found, context.Cause(ctx)
		}
		if err != nil {
			return found, fmt.Errorf("the mirror at %s broke off: %w", c.listen, err)
		}
		if line.Found != nil {
			found = *line.Found
		}
		switch {
		case line.Error != "":
			return found, errors.New(line.Error)
		case line.Done:
			return found, nil
		case line.Name != "":
			progress(found, &cache.Fault{Name: line.Name, Err: errors.New(line.Wrong)})
		default:
			progress(found, nil)
		}
	}
}

// do sends a request, with an Authorization header unless that is empty. The caller closes
// the response's body.
func (c *Client) do(ctx context.Context, method, path, authorization string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+dialAddress(c.listen)+path, nil)
	if err != nil {
		return nil, err
	}
	req.Host = "localhost" // a name that the mirror trusts, whatever it is called here
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w; is it running, and is this its admin.listen (its file is named with --config)?", ErrNoMirror, c.listen, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what could be read is reported
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%w at %s: what responds there is not a mirror's admin listener (%s)", ErrNoMirror, c.listen, resp.Status)
	}
	return nil, fmt.Errorf("the mirror at %s responds %s: %s", c.listen, resp.Status, strings.TrimSpace(string(text)))
}

// dialAddress is the address to dial for one that is listened on: everywhere
// includes this host.
func dialAddress(listen string) string {
	if _, ok := SocketPath(listen); ok {
		return "localhost"
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if address, err := netip.ParseAddr(host); host == "" || err == nil && address.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
