package upstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"
)

const (
	maxRefusal = 64 << 10 // bytes of its body that are read
	maxMessage = 512      // bytes of them that an error repeats
)

// insufficientScope is what a registry calls a token that is good but may not
// pull: RFC 6750, section 3.1.
const insufficientScope = "insufficient_scope"

// refusal is a response other than 2xx.
type refusal struct {
	code          int
	status        string // with its reason phrase
	host          string // that sent it
	fromRegistry  bool   // and not from a host that it redirected to
	challenges    []challenge
	unsatisfied   unsatisfied
	authoritative bool     // the registry itself refused: see isAuthoritative
	html          bool     // an HTML page, which registries do not send
	codes         []string // of its JSON
	message       string   // of the response, as ": message"
}

// readRefusal reads what matters of resp and closes it.
func readRefusal(resp *http.Response) *refusal {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what could be read is reported
	discard(resp)
	refused := &refusal{
		code:        resp.StatusCode,
		status:      resp.Status,
		host:        resp.Request.URL.Host,
		challenges:  parseChallenges(resp.Header),
		unsatisfied: unsatisfiedBy(resp),
	}
	spec := parseErrors(body)
	for _, e := range spec {
		refused.codes = append(refused.codes, e.code())
	}
	refused.html = len(spec) == 0 && isHTML(resp, body)
	refused.authoritative = !refused.html && refused.isAuthoritative(resp, body)
	message := string(body)
	switch {
	case len(spec) > 0:
		message = spec[0].code() + " " + spec[0].Message
	case refused.html:
		message = "an HTML page"
	}
	refused.message = printable(withoutSecrets(message, resp.Request))
	return refused
}

// isAuthoritative reports whether the registry itself has refused, so that "not
// found" and "denied" can be believed, which takes a cached tag out of service.
// Filters, firewalls and ingresses between the mirror and the registry refuse with
// the same statuses. Authoritative is
//
//   - a body of JSON with the spec's errors, or with one of them alone, as zot
//     sends it, whatever its Content-Type;
//   - an empty body beside the header Docker-Distribution-Api-Version, which
//     only registries send;
//   - of a HEAD, which has no body, that header, unless the type is HTML: nginx
//     is often told to add it to its own pages. A type of JSON is not enough,
//     because API gateways send that: a GET tells.
//
// Errors about the registry's state are not about the content. In every other case
// nothing is known about the content: the upstream is unavailable.
func (refused *refusal) isAuthoritative(resp *http.Response, body []byte) bool {
	if len(body) == 0 {
		return resp.Header.Get("Docker-Distribution-Api-Version") != ""
	}
	return len(refused.codes) > 0 && !refused.has("UNAVAILABLE", "UNKNOWN", "TOOMANYREQUESTS")
}

// has reports whether the registry gives one of codes.
func (refused *refusal) has(codes ...string) bool {
	for _, code := range codes {
		for _, given := range refused.codes {
			if strings.EqualFold(code, given) {
				return true
			}
		}
	}
	return false
}

func (refused *refusal) reason() string { return bearerError(refused.challenges) }

// isHTML reports whether a response is HTML, by its type or its body. XML is what
// storage sends.
func isHTML(resp *http.Response, body []byte) bool {
	body = bytes.TrimSpace(body)
	return strings.Contains(strings.ToLower(resp.Header.Get("Content-Type")), "html") ||
		bytes.HasPrefix(body, []byte("<")) && !bytes.HasPrefix(body, []byte("<?xml"))
}

// wireError is one of the spec's errors. Artifactory sends a status instead of the
// code.
type wireError struct {
	Code    any
	Status  any
	Message string
}

func (e wireError) code() string {
	if code, ok := e.Code.(string); ok {
		return code
	}
	if e.Status != nil {
		return fmt.Sprint(e.Status)
	}
	return ""
}

// parseErrors reads the spec's errors; nil when body has none.
func parseErrors(body []byte) []wireError {
	var spec struct {
		Errors []wireError
		wireError
	}
	if json.Unmarshal(body, &spec) != nil {
		return nil
	}
	if code, ok := spec.Code.(string); ok && code != "" && len(spec.Errors) == 0 {
		return []wireError{spec.wireError}
	}
	for _, e := range spec.Errors {
		if e.code() == "" {
			return nil
		}
	}
	return spec.Errors
}

// printable returns words in a form that fits on one line of an error, as ": words".
func printable(words string) string {
	words = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(words, "?"))
	words = strings.Join(strings.Fields(words), " ")
	if words == "" {
		return ""
	}
	if len(words) > maxMessage {
		words = strings.ToValidUTF8(words[:maxMessage], "") + "…"
	}
	return ": " + words
}
