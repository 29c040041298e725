package hubsim

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// response is the ResponseWriter of one request: it counts what is sent and applies
// the fault of the request.
type response struct {
	http.ResponseWriter
	ctx   context.Context // of the request: done when the client disconnects
	tally *tally
	fault Fault

	request string            // "METHOD path"
	header  map[string]string // of the profile

	chunked bool // omit Content-Length
	blob    bool // the body is a blob: count its bytes

	status int       // 0: no header sent yet
	sent   int64     // bytes of the body
	began  time.Time // of the first byte, for Bandwidth
}

// Unwrap is for http.ResponseController.
func (a *response) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *response) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	a.status = status
	if status == http.StatusTooManyRequests {
		a.tally.add(func(c *Counters) {
			c.Refused++
			c.RefusedByRequest[a.request]++
		})
	}
	if a.chunked {
		a.Header().Del("Content-Length")
	}
	replaceHeaders(a.Header(), a.header)
	replaceHeaders(a.Header(), a.fault.Headers)
	if span, _, ok := strings.Cut(a.Header().Get("Content-Range"), "/"); ok && a.fault.NoTotal {
		a.Header().Set("Content-Range", span+"/*")
	}
	a.ResponseWriter.WriteHeader(status)
	if a.chunked {
		a.flush() // otherwise net/http sets the length of a short body
	}
}

// replaceHeaders sets headers, and removes those with an empty value.
func replaceHeaders(header http.Header, values map[string]string) {
	for name, value := range values {
		header.Set(name, value)
		if value == "" {
			header.Del(name)
		}
	}
}

func (a *response) flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }

// Write sends p with the fault applied.
func (a *response) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if !a.fault.shapesBody() {
		return a.pass(p)
	}
	return a.shape(p)
}

// pass counts before it writes, so that a client that has read everything finds it
// in the counters.
func (a *response) pass(p []byte) (int, error) {
	a.count(len(p))
	n, err := a.ResponseWriter.Write(p)
	a.count(n - len(p))
	return n, err
}

func (a *response) count(n int) {
	a.sent += int64(n)
	if a.blob && n != 0 && a.status < http.StatusMultipleChoices {
		a.tally.add(func(c *Counters) { c.CDNBytes += int64(n) })
	}
}

// maxPart is how many bytes of a file are passed to the kernel, and counted, at a
// time.
const maxPart = 1 << 20

// ReadFrom keeps sendfile working for a file that is sent unchanged. It only works
// for a LimitedReader directly above the file.
func (a *response) ReadFrom(src io.Reader) (int64, error) {
	whole, limited := src.(*io.LimitedReader)
	fast, direct := a.ResponseWriter.(io.ReaderFrom)
	if !limited || !direct || a.fault.shapesBody() {
		return io.Copy(struct{ io.Writer }{a}, src)
	}
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	var total int64
	for whole.N > 0 {
		part := &io.LimitedReader{R: whole.R, N: min(maxPart, whole.N)}
		want := part.N
		a.count(int(want))
		n, err := fast.ReadFrom(part)
		a.count(int(n - want))
		total += n
		whole.N -= n
		if err != nil || n < want {
			return total, err
		}
	}
	return total, nil
}

// content returns the body for a GET of a blob or a manifest, with the fault applied.
func (a *response) content(body io.ReadSeeker, size int64) (io.ReadSeeker, int64) {
	a.chunked = a.chunked || a.fault.NoLength || a.fault.Endless
	if a.fault.FlipAt != nil {
		body = &flipped{ReadSeeker: body, at: *a.fault.FlipAt}
	}
	if a.fault.Truncate > 0 {
		size = max(0, size-a.fault.Truncate)
		body = io.NewSectionReader(readerAt{body}, 0, size)
	}
	return body, size
}

// wireErrors is the body of an error according to the distribution spec.
type wireErrors struct {
	Errors []wireError `json:"errors"`
}

type wireError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// fail sends an error; detail may be nil.
func (a *response) fail(status int, code, message string, detail any) {
	a.json(status, wireErrors{[]wireError{{code, message, detail}}})
}

func (a *response) json(status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err) // the bodies are types of this package
	}
	if a.Header().Get("Content-Type") == "" {
		a.Header().Set("Content-Type", "application/json")
	}
	a.text(status, raw)
}

func (a *response) text(status int, body []byte) {
	a.Header().Set("Content-Length", strconv.Itoa(len(body)))
	a.WriteHeader(status)
	_, _ = a.Write(body)
}
