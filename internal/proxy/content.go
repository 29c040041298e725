package proxy

import (
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

func (h *Handler) serveContent(w http.ResponseWriter, r *http.Request, t target, to route.Route, e *Event) error {
	ref, err := t.ref(to)
	if err != nil {
		return err
	}
	e.Repository, e.Reference = ref.Repository(), ref.Reference()
	if r.Method == http.MethodHead {
		result, err := h.options.Registry.Resolve(r.Context(), ref)
		if err != nil {
			return err
		}
		e.Via, e.Reason = result.Via, result.Reason
		setHeaders(w.Header(), ref, result)
		sendHead(w, r, result.Size)
		return nil
	}
	ctx, cancel := readContext(r)
	defer cancel()
	content, err := h.options.Registry.Open(withPart(ctx, r), ref)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	setHeaders(w.Header(), ref, content.Result)
	e.Via, e.Reason = content.Via, content.Reason
	return cutShort(send(w, r, content, e, cancel))
}

// readContext returns the context for reading a body. For several ranges it can be
// canceled, to end a read that outlives the response.
func readContext(r *http.Request) (context.Context, context.CancelFunc) {
	if !strings.Contains(r.Header.Get("Range"), ",") {
		return r.Context(), func() {}
	}
	return context.WithCancel(r.Context())
}

// setHeaders sets the headers that describe content, for HEAD and GET.
func setHeaders(header http.Header, ref oci.Ref, a oci.Result) {
	d := a.Digest.String()
	header.Set("Docker-Content-Digest", d)
	header.Set("Etag", `"`+d+`"`)
	setVia(header, a.Via)
	if a.Via == oci.Stale {
		setStale(header, a.Reason, a.Checked)
	}
	if ref.Kind() == oci.Manifest {
		header.Set("Content-Type", a.MediaType)
		return
	}
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Accept-Ranges", "bytes")
	header.Set("Cache-Control", "max-age=31536000, immutable")
}

// sendHead responds to a HEAD like to a GET, including preconditions. But Range is
// ignored: it is defined for GET only (RFC 9110, section 14.2).
func sendHead(w http.ResponseWriter, r *http.Request, size int64) {
	if size == oci.UnknownSize {
		w.WriteHeader(http.StatusOK)
		return
	}
	r, _ = applyRange(r, 0)
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(strings.NewReader(""), 0, size))
}

// send writes the content, or the requested ranges of it. An *os.File is passed to
// the connection unwrapped, so that the kernel sends it. cancel ends a read that is
// still waiting when ServeContent has returned.
func send(w http.ResponseWriter, r *http.Request, content *oci.Content, e *Event, cancel func()) error {
	body, ok := content.Body.(io.ReadSeeker)
	if !ok || content.Size == oci.UnknownSize {
		return sendWhole(w, content)
	}
	r, parts := applyRange(r, content.Size)
	if p, ok := body.(oci.PartReader); ok {
		p.ReadParts(parts)
	}
	if file, ok := body.(*os.File); ok {
		http.ServeContent(w, r, "", time.Time{}, file)
		return nil
	}
	if v, ok := body.(viaReporter); ok {
		w = &viaWriter{ResponseWriter: w, body: v, event: e}
	}
	w = struct{ http.ResponseWriter }{w} // without ReadFrom, the header and a small body go out in one write
	recorder := &errorRecorder{body: body}
	http.ServeContent(w, r, "", time.Time{}, recorder)
	cancel()
	return recorder.end()
}

// sendWhole writes a body that cannot seek.
func sendWhole(w http.ResponseWriter, content *oci.Content) error {
	setLength(w.Header(), content.Size)
	w.WriteHeader(http.StatusOK)
	_, err := io.Copy(w, content.Body)
	return err
}

func setLength(header http.Header, size int64) {
	if size != oci.UnknownSize {
		header.Set("Content-Length", strconv.FormatInt(size, 10))
	}
}

// viaReporter is a body whose parts may have another Via than the whole.
type viaReporter interface{ Via() oci.Via }

// viaWriter corrects the Via just before the header is written: only then it is
// known which part is read first.
type viaWriter struct {
	http.ResponseWriter
	body  viaReporter
	event *Event
}

func (w *viaWriter) WriteHeader(status int) {
	w.event.Via = w.body.Via()
	setVia(w.Header(), w.event.Via)
	w.ResponseWriter.WriteHeader(status)
	if status < http.StatusMultipleChoices {
		// The first bytes may take long, and clients time out without a header.
		_ = http.NewResponseController(w.ResponseWriter).Flush() // the next write returns the error
	}
}

// Unwrap is for http.ResponseController.
func (w *viaWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
