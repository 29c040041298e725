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
	oci.NameInvalid:     http.StatusNotFound, // an invalid name cannot exist; the spec has no other status
	oci.Unauthorized:    http.StatusUnauthorized,
	oci.Denied:          http.StatusForbidden,
	oci.Unsupported:     http.StatusMethodNotAllowed,
	oci.TooManyRequests: http.StatusServiceUnavailable,
	oci.Unavailable:     http.StatusServiceUnavailable,
}

// statusClientGone is for the log only: the client has disconnected.
const statusClientGone = 499

// errNoEndpoint marks a path that is not part of the API, for any method.
var errNoEndpoint = errors.New("no such endpoint")

func invalidParameter(message string) error {
	return &oci.Error{Code: oci.Unsupported, Message: message, Err: oci.ErrParameter}
}

// specError is one error in the JSON format of the spec.
type specError struct {
	Code    oci.Code `json:"code"`
	Message string   `json:"message"`
	Detail  any      `json:"detail,omitempty"`
}

// writeError is the only place where an error becomes a status.
//
// A blob that is temporarily unavailable is 404 BLOB_UNKNOWN, the one response
// after which every client quickly tries the next host; detail has the cause. A
// manifest or a list is 503, see unavailableStatus, and never 429 or a false 404:
// those delay clients by minutes, or hide signatures; that is right only for one that
// has failed to log in too often. An upstream without a
// referrers API is 404, but not NAME_UNKNOWN, so that clients fall back to the
// referrers tag.
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
	case errors.Is(err, oci.ErrLoop):
		status = http.StatusLoopDetected
	case code == oci.TooManyRequests && !oci.Temporary(err): // failed logins
		status = http.StatusTooManyRequests
		setRetryAfter(w.Header(), err)
	case event.Kind == "blob" && oci.Temporary(err):
		e = specError{Code: oci.BlobUnknown, Message: "the blob is temporarily unavailable", Detail: specError{Code: code, Message: err.Error()}}
		status = http.StatusNotFound
	case errors.Is(err, oci.ErrParameter):
		status = http.StatusBadRequest
	case errors.Is(err, errNoEndpoint), errors.Is(err, oci.ErrNoReferrers):
		status = http.StatusNotFound
	case !known || status == http.StatusServiceUnavailable:
		status = unavailableStatus(r, event, err)
		setRetryAfter(w.Header(), err)
	}
	body, _ := json.Marshal(map[string][]specError{"errors": {e}}) // strings always marshal
	w.Header().Set("Content-Type", "application/json")
	_ = writeBody(w, r, status, body) // fails only if the client has disconnected
}

// setRetryAfter sets Retry-After to the end of the limit, if err is a LimitError.
func setRetryAfter(header http.Header, err error) {
	var limit *oci.LimitError
	if errors.As(err, &limit) {
		seconds := max(1, int(time.Until(limit.RetryAt).Round(time.Second)/time.Second))
		header.Set("Retry-After", strconv.Itoa(seconds))
	}
}

// warning returns a Warning header with code 299 (RFC 7234, section 5.5), the only
// part of a 5xx response that podman, skopeo and buildah show to their users.
func warning(message string) string {
	const maxLength = 512 // bytes
	text := []byte(message)
	for i, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' { // oras does not undo escapes
			text[i] = '\''
		}
	}
	return `299 - "mirrord: ` + string(text[:min(len(text), maxLength)]) + `"`
}
