package upstream

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"unicode"

	"mirrord/internal/oci"
)

// maxWords bounds, in bytes, what an error repeats of an upstream's answer.
const maxWords = 512

// refusal makes the error of an answer that is none of the 2xx.
func (r *Registry) refusal(q request, resp *http.Response, fromRegistry bool) error {
	words := wordsOf(resp)
	switch {
	case resp.StatusCode == http.StatusNotFound && (fromRegistry || q.what.Kind() != oci.Blob):
		// Registries such as registry.k8s.io redirect manifests too.
		return oci.Errorf(unknown(q.what), "%s: not found%s", r.Name, words)
	case !fromRegistry:
		// Links of a storage host expire: this says nothing of the content.
		return oci.Errorf(oci.Unavailable, "%s: its storage %s answered %s%s", r.Name, resp.Request.URL.Host, resp.Status, words)
	case resp.StatusCode == http.StatusUnauthorized:
		// With a fresh token: Docker Hub does not tell missing from private.
		return oci.Errorf(oci.NameUnknown, "%s: repository %s does not exist, or its login may not pull it%s", r.Name, q.repository, words)
	case resp.StatusCode == http.StatusMethodNotAllowed:
		return oci.Errorf(oci.Unavailable, "%s: %w: %s%s", r.Name, errMethod, q.method, words)
	case resp.StatusCode == http.StatusForbidden:
		return oci.Errorf(oci.Denied, "%s: pull of %s denied%s", r.Name, q.repository, words)
	}
	return oci.Errorf(oci.Unavailable, "%s answered %s%s", r.Name, resp.Status, words)
}

// errMethod says that the registry does not know the method.
var errMethod = errors.New("method not allowed")

func unknown(ref oci.Ref) oci.Code {
	switch ref.Kind() {
	case oci.Blob:
		return oci.BlobUnknown
	case oci.Manifest:
		return oci.ManifestUnknown
	}
	return oci.NameUnknown
}

// wordsOf returns what an upstream says in an error body, as ": words".
func wordsOf(resp *http.Response) string {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 8<<10)) // what could be read is what is told
	var spec struct {
		Errors []struct{ Code, Message string }
	}
	words := string(body)
	if json.Unmarshal(body, &spec) == nil && len(spec.Errors) > 0 {
		words = spec.Errors[0].Code + " " + spec.Errors[0].Message
	} else if strings.Contains(resp.Header.Get("Content-Type"), "html") {
		words = "an HTML page"
	}
	words = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(withoutSecrets(words, resp.Request), "?"))
	words = strings.Join(strings.Fields(words), " ")
	if words == "" {
		return ""
	}
	if len(words) > maxWords {
		words = strings.ToValidUTF8(words[:maxWords], "") + "…"
	}
	return ": " + words
}

// unreachable makes the error of a request without an answer. A signed link is
// a secret for as long as it is valid, so no query is repeated.
func (r *Registry) unreachable(err error) error {
	if refused := refusedByOurs(err); refused != nil {
		return refused
	}
	return oci.Errorf(oci.Unavailable, "%s cannot be reached: %w", r.Name, redact(err))
}

// refusedByOurs returns the error of a transport that refuses by itself, the
// quota's or the breakers', or nil. It says all that there is to say.
func refusedByOurs(err error) error {
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

// withoutSecrets takes out of words what req was let in with: storage hosts
// repeat the parts of a signed link when they refuse it.
func withoutSecrets(words string, req *http.Request) string {
	const shortest = 8 // what is shorter signs nothing
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
	return words
}

// redacted is an error whose words repeat no query and no login of an address.
// The address may be in the words of a cause, as of a redirect that fails.
type redacted struct{ error }

// An address ends at the quote that is not escaped, or with the words.
var (
	queries = regexp.MustCompile(`\?(?:\\.|[^"\\])*`)
	logins  = regexp.MustCompile(`//[^/"\s]*@`)
)

func (r redacted) Error() string {
	return logins.ReplaceAllString(queries.ReplaceAllString(r.error.Error(), ""), "//")
}

func (r redacted) Unwrap() error { return r.error }

func redact(err error) error { return redacted{err} }

// discard reads a little of what is left, so that the connection can serve
// again, and closes.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 8<<10)
	_ = resp.Body.Close()
}
