package hubsim

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	repo      = "library/test"
	indexType = "application/vnd.oci.image.index.v1+json"
	imageType = "application/vnd.oci.image.manifest.v1+json"
)

func start(t *testing.T, o Options) *Hub {
	t.Helper()
	h, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// client follows no redirects and reuses no connections.
type client struct {
	t     *testing.T
	hub   *Hub
	token string
	http  http.Client
}

func newClient(t *testing.T, h *Hub) *client {
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, hub: h, http: http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// login gets a token for scopes, as user when that is not empty.
func (c *client) login(user, password string, scopes ...string) *client {
	c.t.Helper()
	answer := c.do("GET", "/token?service=registry.docker.io&scope="+strings.Join(scopes, "&scope="), func(r *http.Request) {
		r.Header.Del("Authorization")
		if user != "" {
			r.SetBasicAuth(user, password)
		}
	})
	answer.want(c.t, http.StatusOK)
	var body tokenResponse
	if err := json.Unmarshal(answer.body, &body); err != nil {
		c.t.Fatal(err)
	}
	c.token = body.Token
	return c
}

// tokenResponse is the response of the token service.
type tokenResponse struct {
	Token       string
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
	IssuedAt    string `json:"issued_at"`
}

func pull(name string) string { return "repository:" + name + ":pull" }

// reply is a response whose body has been read; err is the error of the body.
type reply struct {
	*http.Response
	body []byte
	err  error
}

func (r reply) want(t *testing.T, status int) reply {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("%s %s: status %d, want %d; body %q", r.Request.Method, r.Request.URL, r.StatusCode, status, r.body)
	}
	return r
}

func (r reply) wantHeader(t *testing.T, name, want string) reply {
	t.Helper()
	if got := r.Header.Get(name); got != want {
		t.Errorf("%s %s: %s is %q, want %q", r.Request.Method, r.Request.URL, name, got, want)
	}
	return r
}

func (r reply) wantCode(t *testing.T, status int, code string) reply {
	t.Helper()
	r.want(t, status)
	var body wireErrors
	if err := json.Unmarshal(r.body, &body); err != nil || len(body.Errors) != 1 || body.Errors[0].Code != code {
		t.Errorf("%s %s: body %q, want error %s", r.Request.Method, r.Request.URL, r.body, code)
	}
	return r
}

// do fails when there is no response at all.
func (c *client) do(method, where string, edits ...func(*http.Request)) reply {
	c.t.Helper()
	answer, err := c.try(method, where, edits...)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer
}

func (c *client) try(method, where string, edits ...func(*http.Request)) (reply, error) {
	c.t.Helper()
	if strings.HasPrefix(where, "/") {
		where = c.hub.URL() + where
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, where, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Accept", "*/*")
	if c.token != "" && strings.HasPrefix(where, c.hub.URL()) {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for _, edit := range edits {
		edit(r)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return reply{answer, body, err}, nil
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// blobLink returns the URL to which the registry redirects for a blob.
func (c *client) blobLink(digest string) string {
	c.t.Helper()
	return c.do("GET", "/v2/"+repo+"/blobs/"+digest).want(c.t, http.StatusTemporaryRedirect).Header.Get("Location")
}
