package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/time/rate"
)

// Issuer issues JWTs, as the OpenID Connect provider of a CI system does.
type Issuer struct {
	URL      string   // that its tokens name, and where its keys are found
	Audience string   // that tokens for this mirror name
	Subjects []string // patterns, as those of Rule.Who; empty: all
	JWKSURL  string   // of its keys; empty: its discovery document says where they are
	CAFile   string   // PEM, trusted beside the system's authorities; may be empty
}

const (
	issuerTime   = 10 * time.Second // of one request to an issuer
	issuerBytes  = 1 << 20          // of one response
	refreshEvery = time.Hour        // so that keys that were withdrawn are forgotten
	retryEvery   = 5 * time.Second
)

// signatures are the asymmetric algorithms: with others, whoever can verify a token
// could issue one.
var signatures = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}

// issuer is an Issuer with its keys.
type issuer struct {
	Issuer
	client *http.Client
	failed func(issuer string, err error)
	known  atomic.Pointer[knownIssuer] // nil: it was never found

	asking sync.Mutex // held while its discovery document is fetched; guards tried and last
	tried  time.Time
	last   error // of the last try
}

type knownIssuer struct {
	verifier *oidc.IDTokenVerifier
	found    time.Time
}

func newIssuer(o Issuer, failed func(string, error)) (*issuer, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.CAFile != "" {
		roots, err := readRoots(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: ca_file: %w", o.URL, err)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	client := &http.Client{
		Timeout:       issuerTime,
		CheckRedirect: staySecure,
		Transport:     &frugal{next: transport, limit: rate.NewLimiter(rate.Every(retryEvery), 4)},
	}
	return &issuer{Issuer: o, client: client, failed: failed}, nil
}

func readRoots(path string) (*x509.CertPool, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s contains no certificate in PEM form", path)
	}
	return roots, nil
}

// staySecure follows a few redirects, but none from HTTPS to HTTP.
func staySecure(req *http.Request, via []*http.Request) error {
	if len(via) > 4 || req.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
		return http.ErrUseLastResponse
	}
	return nil
}

// frugal bounds the responses and the rate of requests: a client that invents the name
// of a key makes the verifier ask for keys.
type frugal struct {
	next  http.RoundTripper
	limit *rate.Limiter
}

var errTooOften = errors.New("the issuer was asked for its keys a moment ago")

func (f *frugal) RoundTrip(req *http.Request) (*http.Response, error) {
	if !f.limit.Allow() {
		return nil, errTooOften
	}
	resp, err := f.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, issuerBytes), resp.Body}
	return resp, nil
}

// verifier returns a verifier with the keys of the issuer, which it asks where to find
// them every hour. While the issuer is down the last ones are used.
func (i *issuer) verifier(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	known := i.known.Load()
	if known == nil {
		i.asking.Lock()
	} else if time.Since(known.found) < refreshEvery || !i.asking.TryLock() {
		return known.verifier, nil
	}
	defer i.asking.Unlock()
	if time.Since(i.tried) >= retryEvery {
		i.last = i.find(ctx)
		i.tried = time.Now()
	}
	if known = i.known.Load(); known != nil {
		return known.verifier, nil
	}
	return nil, i.last
}

// find fetches the discovery document.
func (i *issuer) find(ctx context.Context) error {
	ctx = oidc.ClientContext(ctx, i.client)
	document := struct {
		Keys string `json:"jwks_uri"`
	}{i.JWKSURL}
	if document.Keys == "" {
		provider, err := oidc.NewProvider(ctx, i.URL)
		if err == nil {
			err = provider.Claims(&document)
		}
		if err == nil && !sameSecurity(i.URL, document.Keys) {
			err = fmt.Errorf("its keys are at %q, which is not HTTPS", document.Keys)
		}
		if err != nil {
			i.report(err)
			return err
		}
	}
	keys := reportingKeys{oidc.NewRemoteKeySet(ctx, document.Keys)}
	config := &oidc.Config{ClientID: i.Audience, SupportedSigningAlgs: signatures}
	i.known.Store(&knownIssuer{oidc.NewVerifier(i.URL, keys, config), time.Now()})
	return nil
}

// sameSecurity reports whether the second URL is as protected as the first one.
func sameSecurity(issuer, keys string) bool {
	return strings.HasPrefix(keys, "https://") || strings.HasPrefix(issuer, "http://") && strings.HasPrefix(keys, "http://")
}

// report reports a failure, of which the text may contain a whole response.
func (i *issuer) report(err error) {
	const most = 512 // bytes
	if text := err.Error(); len(text) > most {
		err = errors.New(strings.ToValidUTF8(text[:most], "") + "…")
	}
	i.failed(i.URL, err)
}

// reportingKeys leaves the error of the keys in the context: the verifier does not wrap
// it, and a token that cannot be verified now is another thing than a wrong one.
type reportingKeys struct{ oidc.KeySet }

type keysErrorKey struct{}

func (k reportingKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, token)
	if report, ok := ctx.Value(keysErrorKey{}).(*error); ok {
		*report = err
	}
	return payload, err
}
