package admin

import (
	"bytes"
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
)

const (
	responseTime = 10 * time.Second // until a response begins
	maxResponse  = 256 << 20        // bytes of a response that is read whole: names of a million images
	maxRefusal   = 16 << 10         // bytes of a response that refuses
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
			conn, err := dialer.DialContext(ctx, network, address)
			if owner, ok := ctx.Value(ownerKey{}).(uint32); ok && err == nil {
				if err := checkListener(conn.RemoteAddr().(*net.TCPAddr).AddrPort(), owner); err != nil {
					return nil, errors.Join(err, conn.Close())
				}
			}
			return conn, err
		},
		ResponseHeaderTimeout: responseTime,
		DisableKeepAlives:     true,
	}}}
}

// patient returns c without a limit for the time until a response begins: some have it only
// when a huge cache has been read, or when another change of it is over.
func (c *Client) patient() *Client {
	other := *c
	transport := c.http.Transport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 0
	other.http.Transport = transport
	return &other
}

// SocketPath returns the path of the unix socket that listen, a value of admin.listen,
// names.
func SocketPath(listen string) (string, bool) { return strings.CutPrefix(listen, "unix:") }

// ownerKey is of the user in a context who must run what is connected to.
type ownerKey struct{}

// authorize returns r with the token of the mirror. A unix socket needs none. A token whose
// file the mirror has named is sent only to the owner of that file.
func (c *Client) authorize(r *http.Request) (*http.Request, error) {
	if _, ok := SocketPath(c.listen); ok {
		return r, nil
	}
	dir, err := c.Directory(r.Context())
	if err != nil {
		return r, err
	}
	authorization, err := c.authorization(dir)
	if authorization == "" || err != nil {
		return r, err
	}
	if c.tokenFile == "" {
		owner, err := ownerOf(filepath.Join(dir, tokenName))
		if err != nil {
			return r, err
		}
		r = r.WithContext(context.WithValue(r.Context(), ownerKey{}, owner))
	}
	r.Header.Set("Authorization", authorization)
	return r, nil
}

// authorization returns the header with the token of the mirror whose directory is dir. It
// is empty for a mirror of an older version, which has none.
func (c *Client) authorization(dir string) (string, error) {
	token, err := NewToken(c.tokenFile, dir).read()
	if errors.Is(err, fs.ErrNotExist) && c.tokenFile == "" {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the token of the mirror at %s: %w; run this as its user or as root, name the file with --admin-token-file, or ask at its socket with --admin-socket", c.listen, err)
	}
	return "Bearer " + token, nil
}

// Budgets returns the budgets of the mirror's credentials, and as the mirror sent
// them: a newer one may have fields that Budget lacks.
func (c *Client) Budgets(ctx context.Context) (budgets []Budget, raw []byte, err error) {
	raw, err = c.get(ctx, "/quota", nil, &budgets)
	return budgets, raw, err
}

// Ready returns what the mirror says of its readiness: what it works without, if
// anything. It fails while the mirror drains.
func (c *Client) Ready(ctx context.Context) ([]byte, error) {
	resp, err := c.send(ctx, http.MethodGet, "/readyz", nil, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return io.ReadAll(io.LimitReader(resp.Body, maxResponse))
}

// Directory returns the cache directory of the mirror.
func (c *Client) Directory(ctx context.Context) (string, error) {
	resp, err := c.send(ctx, http.MethodGet, "/verify", nil, nil)
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

// get decodes the response to a GET into value, and returns it as the mirror sent it too: a
// newer one may have fields that value lacks.
func (c *Client) get(ctx context.Context, path string, query url.Values, value any) (raw []byte, err error) {
	return c.exchange(ctx, http.MethodGet, path, query, nil, value)
}

// exchange sends body, as JSON unless it is nil, and decodes the response as get does.
func (c *Client) exchange(ctx context.Context, method, path string, query url.Values, body, value any) (raw []byte, err error) {
	resp, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if raw, err = io.ReadAll(io.LimitReader(resp.Body, maxResponse)); err != nil {
		return nil, fmt.Errorf("ask the mirror at %s: %w", c.listen, err)
	}
	if err := json.Unmarshal(raw, value); err != nil {
		return nil, fmt.Errorf("the mirror at %s sends an invalid response to %s: %w", c.listen, path, err)
	}
	return raw, nil
}

// lines sends body as exchange does, and calls each with the lines of the response until
// one says that it is the last. It fails with the error that a line has, and when the
// response ends before its last line.
func (c *Client) lines(ctx context.Context, method, path string, query url.Values, body any, each func(line []byte) error) error {
	resp, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	return c.readLines(ctx, resp, each)
}

// readLines is lines for a response that has begun, which it closes.
func (c *Client) readLines(ctx context.Context, resp *http.Response, each func(line []byte) error) error {
	defer func() { _ = resp.Body.Close() }()
	for decoder := json.NewDecoder(resp.Body); ; {
		var line json.RawMessage
		err := decoder.Decode(&line)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("the mirror at %s broke off: %w", c.listen, err)
		}
		var end struct {
			Done  bool   `json:"done"`
			Error string `json:"error"`
		}
		if err := errors.Join(json.Unmarshal(line, &end), each(line)); err != nil {
			return err
		}
		if end.Error != "" {
			return errors.New(end.Error)
		}
		if end.Done {
			return nil
		}
	}
}

// send sends a request, with the token where it needs one. The caller closes the
// response's body.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(raw)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+dialAddress(c.listen)+path, content)
	if err != nil {
		return nil, err
	}
	req.Host = "localhost" // a name that the mirror trusts, whatever it is called here
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.sendRequest(req)
}

// sendRequest is send for a request that is complete but for its token.
func (c *Client) sendRequest(req *http.Request) (*http.Response, error) {
	if acts(req) || tells(req) || isFigures(req) {
		var err error
		if req, err = c.authorize(req); err != nil && !isFigures(req) {
			return nil, err
		}
	}
	resp, err := c.http.Do(req)
	if ctx := req.Context(); err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, errStranger) {
		return nil, err
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("the mirror at %s cannot be asked: %w; run this as root, as its user, or in its group if it is its admin.socket", c.listen, err)
	}
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err // without the method and the path, which are not what was asked for
		}
		return nil, fmt.Errorf("%w at %s: %w; is it running, and is this its admin.listen or admin.socket (its file is named with --config)?", ErrNoMirror, c.listen, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	return nil, c.refusal(resp)
}

// Refusal is what a mirror says instead of a response.
type Refusal struct {
	Status int
	text   string
}

func (r *Refusal) Error() string { return r.text }

// refusal returns the error that resp is. Its text is that of the mirror, if there is one.
func (c *Client) refusal(resp *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what could be read is reported
	text := strings.TrimSpace(string(raw))
	var own failure
	err := json.Unmarshal(raw, &own)
	switch {
	case err == nil && own.Error != "" && resp.StatusCode == http.StatusBadRequest:
		return &Refusal{resp.StatusCode, own.Error} // of what the person has written
	case err == nil && own.Error != "":
		text = own.Error
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w at %s: what responds there is not a mirror's admin listener, or that of an older version (%s)", ErrNoMirror, c.listen, resp.Status)
	}
	return &Refusal{resp.StatusCode, fmt.Sprintf("the mirror at %s responds %s: %s", c.listen, resp.Status, text)}
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
