package proxy

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"mirrord/internal/oci"
)

var statusOf = map[oci.Code]int{
	oci.BlobUnknown:     http.StatusNotFound,
	oci.ManifestUnknown: http.StatusNotFound,
	oci.NameUnknown:     http.StatusNotFound,
	oci.DigestInvalid:   http.StatusBadRequest,
	oci.ManifestInvalid: http.StatusBadRequest,
	oci.NameInvalid:     http.StatusNotFound, // what is not valid is not there: the spec has no other status
	oci.Denied:          http.StatusForbidden,
	oci.Unsupported:     http.StatusMethodNotAllowed,
	oci.TooManyRequests: http.StatusServiceUnavailable,
	oci.Unavailable:     http.StatusServiceUnavailable,
}

// statusClientGone is for the log: the client has left and reads no answer.
const statusClientGone = 499

// errNoEndpoint marks a path that is none of the API's, whatever the method.
var errNoEndpoint = errors.New("no such endpoint")

func badParameter(message string) error {
	return &oci.Error{Code: oci.Unsupported, Message: message, Err: oci.ErrParameter}
}

// specError is one error of the spec's JSON.
type specError struct {
	Code    oci.Code `json:"code"`
	Message string   `json:"message"`
	Detail  any      `json:"detail,omitempty"`
}

// writeError is the only place where an error becomes a status.
//
// A blob that the upstream does not give now is 404 BLOB_UNKNOWN, the one
// answer that every client leaves quickly for the next host; detail has the
// cause. A manifest or a list is 503, see refusal, never 429 or a false 404: those
// cost clients minutes, or hide signatures. Where the upstream has no referrers
// API it is 404 and not NAME_UNKNOWN, after which clients look under a tag.
func writeError(w http.ResponseWriter, r *http.Request, event Event) {
	err := event.Err
	if r.Context().Err() != nil {
		w.WriteHeader(statusClientGone)
		return
	}
	code := oci.CodeOf(err)
	e := specError{Code: code, Message: err.Error()}
	if oci.Temporary(err) {
		w.Header().Set("Warning", warning(e.Message))
	}
	status, known := statusOf[code]
	switch {
	case event.Kind == "blob" && oci.Temporary(err):
		e = specError{Code: oci.BlobUnknown, Message: "the blob is temporarily unavailable", Detail: specError{Code: code, Message: err.Error()}}
		status = http.StatusNotFound
	case errors.Is(err, oci.ErrParameter):
		status = http.StatusBadRequest
	case errors.Is(err, errNoEndpoint), errors.Is(err, oci.ErrNoReferrers):
		status = http.StatusNotFound
	case !known || status == http.StatusServiceUnavailable:
		status = refusal(r, event, err)
		setRetryAfter(w.Header(), err)
	}
	body, _ := json.Marshal(map[string][]specError{"errors": {e}}) // strings always marshal
	w.Header().Set("Content-Type", "application/json")
	_ = writeBody(w, r, status, body) // a client that has left misses nothing
}

// setRetryAfter tells when the upstream's limit is over, where that is known.
func setRetryAfter(header http.Header, err error) {
	var limit *oci.LimitError
	if errors.As(err, &limit) {
		seconds := max(1, int(time.Until(limit.RetryAt).Round(time.Second)/time.Second))
		header.Set("Retry-After", strconv.Itoa(seconds))
	}
}

// warning is a Warning header with code 299 (RFC 7234, section 5.5): of an answer
// 5xx podman, skopeo and buildah show their users nothing else.
func warning(message string) string {
	const longest = 512 // bytes
	text := []byte(message)
	for i, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' { // oras takes no escapes back
			text[i] = '\''
		}
	}
	return `299 - "mirrord: ` + string(text[:min(len(text), longest)]) + `"`
}
