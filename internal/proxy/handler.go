// Package proxy serves a Registry as the read-only /v2/ API of the OCI
// distribution spec. It turns a path into a reference, an answer into a
// response and an error into its status; it does nothing else.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/felixge/httpsnoop"
	"golang.org/x/sync/semaphore"

	"mirrord/internal/oci"
)

// Options of a Handler.
type Options struct {
	Registry   oci.Registry
	Namespaces Namespaces
	Limit      Limiter                    // of the requests that one client may have under way; may be nil
	Observe    func(*http.Request, Event) // called at the end of each request; may be nil
}

// Limiter decides whether one more request of the client behind ctx is answered;
// Leave ends one that was. Methods may be called concurrently. Errors are an
// *oci.LimitError.
type Limiter interface {
	Enter(ctx context.Context) error
	Leave(ctx context.Context)
}

// Event tells of one request that has ended. Its strings come from the code,
// but for Repository and Reference, which are valid, and empty when the request
// named none that is.
type Event struct {
	Operation  string // ping, get, head, list or other
	Kind       string // manifest, blob, tags, referrers or none
	Upstream   string // empty when none is known by that name
	Repository string
	Reference  string
	Status     int
	Bytes      int64 // of the body
	Duration   time.Duration
	Via        oci.Via         // empty for what is neither content nor a list
	Reason     oci.StaleReason // of an older copy
	Err        error           // why the answer is not what was asked for
	Cut        bool            // the answer broke off after its status had been sent
}

// Handler is the http.Handler of the mirror.
type Handler struct {
	Options
	lists *semaphore.Weighted // bytes of large lists that are being sent
}

// New returns the Handler.
func New(o Options) *Handler {
	if o.Observe == nil {
		o.Observe = func(*http.Request, Event) {}
	}
	return &Handler{Options: o, lists: semaphore.NewWeighted(listsMemory)}
}

// ServeHTTP answers one request. No panic leaves it but http.ErrAbortHandler,
// which cuts an answer short that cannot be finished.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := Event{Operation: "other", Kind: "none"}
	m := httpsnoop.Metrics{Code: http.StatusOK}
	defer func() {
		e.Status, e.Bytes, e.Duration = m.Code, m.Written, m.Duration
		e.Cut = errors.Is(e.Err, errCut)
		h.Observe(r, e)
		if e.Cut {
			panic(http.ErrAbortHandler)
		}
	}()
	m.CaptureMetrics(w, func(w http.ResponseWriter) {
		e.Err = h.guard(w, r, &e)
		if e.Err != nil && !errors.Is(e.Err, errCut) {
			writeError(w, r, e)
		}
	})
	if e.Err == nil && r.Method == http.MethodGet && r.Context().Err() == nil {
		e.Err = cut(shortfall(w.Header(), m.Written))
	}
}

// shortfall reports a body shorter than was announced: http.ServeContent does
// not tell when a file could not be read.
func shortfall(header http.Header, written int64) error {
	announced, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if err != nil || written >= announced {
		return nil
	}
	return fmt.Errorf("%w: %d bytes sent of %d", io.ErrUnexpectedEOF, written, announced)
}

// errCut says that an answer broke off after its beginning had been sent.
var errCut = errors.New("response cut short")

// guard turns a panic into an error.
func (h *Handler) guard(w http.ResponseWriter, r *http.Request, e *Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = cut(caught(p))
		}
	}()
	return h.route(w, r, e)
}

func (h *Handler) route(w http.ResponseWriter, r *http.Request, e *Event) error {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	t, err := parsePath(r.URL)
	e.Operation, e.Kind = t.operation(r.Method), t.kindName()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return oci.Errorf(oci.Unsupported, "%s is not supported: this mirror is read-only", r.Method)
	}
	if err != nil {
		return err
	}
	if t.endpoint == ping {
		return servePing(w, r)
	}
	upstream, ns, err := h.Namespaces.lookUp(t.query)
	if err != nil {
		return err
	}
	if ns != "" {
		w.Header().Set("OCI-Namespace", ns)
	}
	e.Upstream = upstream
	if h.Limit != nil {
		if err := h.Limit.Enter(r.Context()); err != nil {
			return err
		}
		defer h.Limit.Leave(r.Context())
	}
	if t.endpoint == tags || t.endpoint == referrers {
		return h.serveList(w, r, t, upstream, e)
	}
	return h.serveContent(w, r, t, upstream, e)
}

func servePing(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	return cut(writeBody(w, r, http.StatusOK, []byte("{}")))
}

// writeBody ends an answer. net/http would swallow the body of a HEAD, and the
// Event would count it.
func writeBody(w http.ResponseWriter, r *http.Request, status int, body []byte) error {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(body)
	return err
}

// cut marks err as having come after the answer had begun.
func cut(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errCut, err)
}
