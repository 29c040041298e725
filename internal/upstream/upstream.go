// Package upstream is a Registry over HTTP: tokens, redirects, and bodies that are
// resumed where they broke off.
package upstream

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sync/semaphore"

	"mirrord/internal/oci"
)

// Options of a Registry. Those behind Resumed, and it, may be zero.
type Options struct {
	Name      string   // in references and errors
	ID        string   // of this mirror in Via, see oci.ParseVia; empty: none is sent
	URL       *url.URL // the registry's root, without /v2/
	Prefix    string   // of all repositories at URL, with a slash at its end; empty: none
	Auth      authn.Authenticator
	Transport http.RoundTripper // from NewTransport, decorated or not
	Resumed   func()            // a body broke off and is resumed

	TokenHosts      []string      // host or host:port of its token service; none: anywhere in its registrable domain
	ResponseTimeout time.Duration // until a response begins, everything included; 0: 15 s
}

// Registry is one upstream registry.
type Registry struct {
	opts   Options
	client *http.Client
	tokens *tokens
	lists  *semaphore.Weighted // bytes of lists that are being read
}

// New returns the Registry. It sends nothing: the first request finds out whether the
// upstream is down.
func New(o Options) *Registry {
	if o.Resumed == nil {
		o.Resumed = func() {}
	}
	return &Registry{
		opts:   o,
		client: &http.Client{Transport: o.Transport, CheckRedirect: redirects(o.URL)},
		tokens: newTokens(o),
		lists:  semaphore.NewWeighted(listsMemory),
	}
}

// apiURL returns the address of path below the /v2/ of registry.
func apiURL(registry *url.URL, path, query string) *url.URL {
	return &url.URL{
		Scheme: registry.Scheme, Host: registry.Host,
		Path: strings.TrimSuffix(registry.Path, "/") + "/v2/" + path, RawQuery: query,
	}
}

// url returns the address of path, which starts with the repository.
func (r *Registry) url(path, query string) string { return apiURL(r.opts.URL, path, query).String() }

func (r *Registry) contentURL(ref oci.Ref) string {
	return r.url(r.remote(ref.Repository())+"/"+ref.Kind().String()+"s/"+ref.Reference(), "")
}

// remote returns the name that a repository has at the registry.
func (r *Registry) remote(repository string) string { return r.opts.Prefix + repository }

// acceptManifests is always sent in full: with less, registries convert manifests or
// respond that they do not exist. It ends like containerd's with what is not known here.
var acceptManifests = strings.Join([]string{
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"*/*",
}, ", ")

const userAgent = "mirrord"

// request describes one request to the registry.
type request struct {
	operation  Operation
	method     string
	url        string
	repository string // whose token is required
	accept     string
	byteRange  string
	ref        oci.Ref     // zero for a list
	list       oci.Listing // zero for content
}

// do sends a request with the token that it needs and returns a successful response;
// the caller closes its body. A request that was refused for its token is sent again
// with another one.
func (r *Registry) do(ctx context.Context, q request) (*http.Response, error) {
	for a := (&attempts{permission: pullFrom(q.repository)}); ; {
		sent, err := r.tokens.authorization(ctx, a.permission)
		if err != nil {
			return nil, err
		}
		reportProgress(ctx) // another request may have fetched the token, and its progress was reported there
		resp, err := r.send(withOperation(ctx, q.operation), q, sent.header)
		if err != nil {
			return nil, r.unreachable(err)
		}
		if resp.StatusCode < 300 {
			r.tokens.recordBasicLogin(sent)
			return resp, nil
		}
		refused := readRefusal(resp)
		refused.fromRegistry = refused.host == r.opts.URL.Host
		if err := r.prepareRetry(ctx, q, sent, refused, a); err != nil {
			return nil, err
		}
	}
}

func (r *Registry) send(ctx context.Context, q request, authorization string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, q.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept-Encoding", "identity")
	for name, value := range map[string]string{
		"Authorization": authorization,
		"Accept":        q.accept,
		"Range":         q.byteRange,
	} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if r.opts.ID != "" {
		req.Header.Set("Via", oci.FormatVia(oci.Hops(ctx), r.opts.ID))
	}
	return r.client.Do(req)
}
