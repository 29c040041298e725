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

// answer is the ResponseWriter of one request: it counts what leaves and lets
// the request's fault have its way with the body.
type answer struct {
	http.ResponseWriter
	ctx   context.Context // of the request: ends when the client leaves
	tally *tally
	fault Fault

	request string // "METHOD path"

	chunked bool // leave out Content-Length
	blob    bool // the body is a blob: count its bytes

	status int       // 0: no header yet
	sent   int64     // bytes of body
	began  time.Time // the first byte, for Bandwidth
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
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
	for name, value := range a.fault.Headers {
		a.Header().Set(name, value)
		if value == "" {
			a.Header().Del(name)
		}
	}
	if span, _, ok := strings.Cut(a.Header().Get("Content-Range"), "/"); ok && a.fault.NoTotal {
		a.Header().Set("Content-Range", span+"/*")
	}
	a.ResponseWriter.WriteHeader(status)
	if a.chunked {
		a.flush() // or net/http would measure a short body
	}
}

func (a *answer) flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }

// Write sends p as the fault wants it.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if !a.fault.shapesBody() {
		return a.pass(p)
	}
	return a.shape(p)
}

// pass counts before it writes, so that a client that has read everything
// finds it counted.
func (a *answer) pass(p []byte) (int, error) {
	a.count(len(p))
	n, err := a.ResponseWriter.Write(p)
	a.count(n - len(p))
	return n, err
}

func (a *answer) count(n int) {
	a.sent += int64(n)
	if a.blob && n != 0 && a.status < http.StatusMultipleChoices {
		a.tally.add(func(c *Counters) { c.CDNBytes += int64(n) })
	}
}

// passAtOnce is how much of a file is handed to the kernel, and counted, at
// a time.
const passAtOnce = 1 << 20

// ReadFrom keeps sendfile working for a file that is sent as it is, which it
// does only for a LimitedReader directly above the file.
func (a *answer) ReadFrom(src io.Reader) (int64, error) {
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
		part := &io.LimitedReader{R: whole.R, N: min(passAtOnce, whole.N)}
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

// content is what answers a GET: a blob or a manifest.
func (a *answer) content(body io.ReadSeeker, size int64) (io.ReadSeeker, int64) {
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

// wireErrors is the body of an error as the distribution spec has it.
type wireErrors struct {
	Errors []wireError `json:"errors"`
}

type wireError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// fail answers an error; detail may be nil.
func (a *answer) fail(status int, code, message string, detail any) {
	a.json(status, wireErrors{[]wireError{{code, message, detail}}})
}

func (a *answer) json(status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err) // the bodies are types of this package
	}
	if a.Header().Get("Content-Type") == "" {
		a.Header().Set("Content-Type", "application/json")
	}
	a.text(status, raw)
}

func (a *answer) text(status int, body []byte) {
	a.Header().Set("Content-Length", strconv.Itoa(len(body)))
	a.WriteHeader(status)
	_, _ = a.Write(body)
}
