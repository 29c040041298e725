package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"mirrord/internal/oci"
)

// refusalError returns the error for a refused request.
func (r *Registry) refusalError(q request, refused *refusal) error {
	if err := r.listError(q, refused); err != nil {
		return err
	}
	switch {
	case refused.code == http.StatusLoopDetected:
		return oci.Errorf(oci.Unavailable, "%s: %w%s", r.opts.Name, oci.ErrLoop, refused.message)
	case refused.code == http.StatusRequestedRangeNotSatisfiable:
		return oci.Errorf(oci.Unavailable, "%s: %w%s", r.opts.Name, refused.unsatisfied, refused.message)
	case refused.code == http.StatusNotFound && refused.authoritative && (refused.fromRegistry || q.ref.Kind() != oci.Blob):
		// Registries such as registry.k8s.io redirect manifests too.
		return oci.Errorf(unknown(q.ref), "%s: not found%s", r.opts.Name, refused.message)
	case q.method == http.MethodHead && getMaySucceed(q, refused):
		return oci.Errorf(oci.Unavailable, "%s: %w: %s%s", r.opts.Name, needsGet(refused), refused.status, refused.message)
	case !refused.fromRegistry:
		// Links to storage expire, so this says nothing about the content.
		return oci.Errorf(oci.Unavailable, "%s: storage host %s responded with %w%s", r.opts.Name, refused.host, responded{refused.code, refused.status}, refused.message)
	case refused.code == http.StatusUnauthorized && (refused.authoritative || refused.reason() == insufficientScope):
		// With a fresh token: Docker Hub does not distinguish missing from private.
		return oci.Errorf(oci.NameUnknown, "%s: repository %s does not exist, or the login may not pull it%s", r.opts.Name, q.repository, refused.message)
	case refused.code == http.StatusForbidden && (refused.authoritative || refused.reason() == insufficientScope):
		return oci.Errorf(oci.Denied, "%s: pull of %s denied%s", r.opts.Name, q.repository, refused.message)
	case refused.code == http.StatusPreconditionFailed && refused.authoritative:
		// No request has a precondition: this is how Harbor enforces a policy.
		return oci.Errorf(oci.Denied, "%s: pull of %s forbidden by a policy%s", r.opts.Name, q.repository, refused.message)
	}
	return oci.Errorf(oci.Unavailable, "%s responded with %w%s", r.opts.Name, responded{refused.code, refused.status}, refused.message)
}

// responded is the status of a response, as the cause of an error.
type responded struct {
	code int
	text string
}

func (s responded) Error() string { return s.text }

// StatusOf returns the status of the response that err is about; 0 when there was none, or
// when err has a code or a cause of its own that says more.
func StatusOf(err error) int {
	var s responded
	var refused *denial
	switch {
	case errors.As(err, &s):
		return s.code
	case errors.As(err, &refused):
		return refused.code
	}
	return 0
}

// getMaySucceed reports whether a GET may succeed where this HEAD was refused: links
// are signed for one method, some registries refuse HEAD for blobs, and a response to
// a HEAD has no body with an error code. A token is refused for both alike.
func getMaySucceed(q request, refused *refusal) bool {
	byMethod := refused.code >= 400 && refused.code < 500 || refused.code == http.StatusNotImplemented
	return byMethod && !refused.html && (refused.reason() == "" || q.ref.Kind() == oci.Blob)
}

// errNeedsGetNow is an oci.ErrNeedsGet for this request and this login only: the next
// HEAD may succeed.
var errNeedsGetNow = fmt.Errorf("%w in this response", oci.ErrNeedsGet)

// needsGet returns errUnclear unless it is the method that was refused.
func needsGet(refused *refusal) error {
	switch refused.code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusPreconditionFailed:
		if refused.fromRegistry {
			return errNeedsGetNow
		}
	}
	return oci.ErrNeedsGet
}

func unknown(ref oci.Ref) oci.Code {
	switch ref.Kind() {
	case oci.Blob:
		return oci.BlobUnknown
	case oci.Manifest:
		return oci.ManifestUnknown
	}
	return oci.NameUnknown
}

// unreachable returns the error for a request without a response. A signed link is
// a secret while it is valid, so the error contains no query.
func (r *Registry) unreachable(err error) error {
	if refused := localRefusal(err); refused != nil {
		return refused
	}
	return oci.Errorf(oci.Unavailable, "%s cannot be reached: %w", r.opts.Name, redact(err))
}

// localRefusal returns the error of a transport of the mirror, the quota's or the
// breaker's, that refused to send the request, or nil. It is complete by itself.
func localRefusal(err error) error {
	var limit *oci.LimitError
	if errors.As(err, &limit) {
		return limit
	}
	var open *oci.Error
	if errors.As(err, &open) {
		return open
	}
	return nil
}

// withoutSecrets removes the credentials of req from words: storage hosts repeat
// parts of a signed link when they refuse it, and a token service may repeat the
// password.
func withoutSecrets(words string, req *http.Request) string {
	const shortest = 8 // shorter values are no signatures
	_, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	secrets := []string{req.URL.RawQuery, token}
	for _, values := range req.URL.Query() {
		secrets = append(secrets, values...)
	}
	for _, secret := range secrets {
		if len(secret) >= shortest {
			words = strings.ReplaceAll(words, secret, "…")
		}
	}
	for _, password := range passwords(req) {
		if password != "" {
			words = strings.ReplaceAll(words, password, "…")
		}
	}
	return words
}

// passwords returns the secrets of req: the password of its Authorization header, or
// the identity token in the body of a token exchange by POST.
func passwords(req *http.Request) []string {
	_, password, _ := req.BasicAuth()
	if req.GetBody == nil {
		return []string{password}
	}
	body, err := req.GetBody()
	if err != nil {
		return []string{password}
	}
	raw, _ := io.ReadAll(body) // it is in memory
	form, _ := url.ParseQuery(string(raw))
	return append(form["refresh_token"], password)
}

// redacted is an error whose text contains neither the query nor the login of a URL.
// The URL may be in the text of a wrapped error, as for a redirect that fails.
type redacted struct{ error }

// A URL ends at the first unescaped quote, or at the end of the text.
var (
	queries = regexp.MustCompile(`\?(?:\\.|[^"\\])*`)
	logins  = regexp.MustCompile(`//[^/"\s]*@`)
)

func (r redacted) Error() string {
	return logins.ReplaceAllString(queries.ReplaceAllString(r.error.Error(), ""), "//")
}

func (r redacted) Unwrap() error { return r.error }

func redact(err error) error { return redacted{err} }

// discard reads a little of the rest of the body, so that the connection can be
// reused, and closes it.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 8<<10)
	_ = resp.Body.Close()
}
