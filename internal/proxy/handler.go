// Package proxy serves a Registry as the read-only /v2/ API of the OCI
// distribution spec. It turns a path into a reference, a result into a response
// and an error into its status; it does nothing else.
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
	"mirrord/internal/route"
)

// Options of a Handler.
type Options struct {
	Registry oci.Registry
	Routes   route.Table
	Upstream string                     // that the listener is bound to; empty: none
	ID       string                     // of this mirror in Via, see oci.ParseVia
	Catalog  Catalog                    // nil: the catalog is not served
	Limit    Limiter                    // limits the requests of each client; nil: no limit
	Pace     Pacer                      // limits how fast bodies are sent; nil: no limit
	Observe  func(*http.Request, Event) // called at the end of each request; may be nil
}

// Limiter limits the requests that the client of ctx, see oci.ClientOf, may send and
// have in flight. Enter may wait, and fails with an *oci.LimitError when there are too
// many; otherwise Leave is called when the request has ended. Methods may be called
// concurrently.
type Limiter interface {
	Enter(ctx context.Context) error
	Leave(ctx context.Context)
}

// Event describes one request that has ended. Its strings are constants of the code
// or, for Upstream, of the configuration. Repository and Reference are from the
// request; they are valid, or empty when those of the request were not.
type Event struct {
	Operation  string // ping, get, head, list or other
	Kind       string // manifest, blob, tags, referrers, catalog or none
	Upstream   string // empty when the request names none that is configured
	Repository string
	Reference  string
	Status     int
	Bytes      int64 // of the response body
	Duration   time.Duration
	Via        oci.Via         // empty for errors and pings
	Reason     oci.StaleReason // only for oci.Stale
	Err        error           // why the request failed, or nil
	Cut        bool            // the response was cut short after its status had been sent
}

// Handler is the http.Handler of the mirror's registry API.
type Handler struct {
	options Options
	lists   *semaphore.Weighted // bytes of large lists that are being sent
}

// New returns a Handler.
func New(o Options) *Handler {
	if o.Observe == nil {
		o.Observe = func(*http.Request, Event) {}
	}
	return &Handler{options: o, lists: semaphore.NewWeighted(listsMemory)}
}

// ServeHTTP serves one request. It panics only with http.ErrAbortHandler, to cut
// short a response that cannot be completed.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve(w, r, h.route) }

// Refuse answers a request that is not to be served with that error.
func (h *Handler) Refuse(w http.ResponseWriter, r *http.Request, refusal error) {
	h.serve(w, r, func(w http.ResponseWriter, r *http.Request, e *Event) error {
		setVersion(w)
		t, _ := parsePath(r.URL) // one that is not valid is refused, too
		e.Operation, e.Kind = t.operation(r.Method), t.kindName()
		h.describe(r, t, e)
		return refusal
	})
}

// describe says in e what a request that is not served is for, if it is valid.
func (h *Handler) describe(r *http.Request, t target, e *Event) {
	if t.endpoint != manifests && t.endpoint != blobs {
		return
	}
	to, err := t.route(h.options.Routes, route.Request{Listener: h.options.Upstream, Host: r.Host, Target: absoluteHost(r)})
	if err != nil {
		return
	}
	if ref, err := t.ref(to); err == nil {
		e.Upstream, e.Repository, e.Reference = to.Upstream, ref.Repository(), ref.Reference()
	}
}

func setVersion(w http.ResponseWriter) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
}

// routeFunc serves a request, describes it in the Event, and returns why it failed.
type routeFunc func(http.ResponseWriter, *http.Request, *Event) error

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, route routeFunc) {
	e := Event{Operation: "other", Kind: "none"}
	m := httpsnoop.Metrics{Code: http.StatusOK}
	defer func() {
		e.Status, e.Bytes, e.Duration = m.Code, m.Written, m.Duration
		e.Cut = errors.Is(e.Err, errCut)
		h.options.Observe(r, e)
		if e.Cut {
			panic(http.ErrAbortHandler)
		}
	}()
	m.CaptureMetrics(w, func(w http.ResponseWriter) {
		e.Err = guard(w, r, &e, route)
		if e.Err != nil && !errors.Is(e.Err, errCut) {
			writeError(w, r, e)
		}
	})
	if e.Err == nil && r.Method == http.MethodGet && r.Context().Err() == nil {
		e.Err = cutShort(shortfall(w.Header(), m.Written))
	}
}

// shortfall returns an error when the body is shorter than its Content-Length:
// http.ServeContent does not report a file that cannot be read.
func shortfall(header http.Header, written int64) error {
	announced, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if err != nil || written >= announced {
		return nil
	}
	return fmt.Errorf("%w: %d bytes sent of %d", io.ErrUnexpectedEOF, written, announced)
}

// errCut marks an error that came after the response had begun.
var errCut = errors.New("response cut short")

// guard turns a panic into an error.
func guard(w http.ResponseWriter, r *http.Request, e *Event, route routeFunc) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = cutShort(panicError(p))
		}
	}()
	return route(w, r, e)
}

func (h *Handler) route(w http.ResponseWriter, r *http.Request, e *Event) error {
	setVersion(w)
	t, err := parsePath(r.URL)
	e.Operation, e.Kind = t.operation(r.Method), t.kindName()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return oci.Errorf(oci.Unsupported, "%s is not supported: this mirror is read-only", r.Method)
	}
	if err != nil {
		return err
	}
	if err := checkBody(r); err != nil {
		return err
	}
	to, err := t.route(h.options.Routes, route.Request{Listener: h.options.Upstream, Host: r.Host, Target: absoluteHost(r)})
	if err != nil {
		return err
	}
	if ns := t.query.Get("ns"); ns != "" {
		w.Header().Set("OCI-Namespace", ns)
	}
	if t.endpoint == ping {
		return servePing(w, r)
	}
	e.Upstream = to.Upstream
	if r, err = h.withDemands(r); err != nil {
		return err
	}
	if h.options.Limit != nil {
		if err := h.options.Limit.Enter(r.Context()); err != nil {
			return err
		}
		defer h.options.Limit.Leave(r.Context())
	}
	w = h.paced(w, r)
	if t.endpoint == catalog {
		return h.serveCatalog(w, r, t, to)
	}
	if t.endpoint == tags || t.endpoint == referrers {
		return h.serveList(w, r, t, to, e)
	}
	return h.serveContent(w, r, t, to, e)
}

func servePing(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	return cutShort(writeBody(w, r, http.StatusOK, []byte("{}")))
}

// writeBody writes a complete response. It does not write the body for a HEAD:
// net/http would discard it, but the Event would count it.
func writeBody(w http.ResponseWriter, r *http.Request, status int, body []byte) error {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(body)
	return err
}

// cutShort marks err with errCut.
func cutShort(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errCut, err)
}
