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
)

// viaHeader tells a client how its answer came.
const viaHeader = "X-Mirrord-Cache"

func (h *Handler) serveContent(w http.ResponseWriter, r *http.Request, t target, upstream string, e *Event) error {
	ref, err := t.ref(upstream)
	if err != nil {
		return err
	}
	e.Repository, e.Reference = ref.Repository(), ref.Reference()
	if r.Method == http.MethodHead {
		answer, err := h.Registry.Resolve(r.Context(), ref)
		if err != nil {
			return err
		}
		e.Via, e.Reason = answer.Via, answer.Reason
		setHeaders(w.Header(), ref, answer)
		sendHead(w, r, answer.Size)
		return nil
	}
	ctx, cancel := readContext(r)
	defer cancel()
	content, err := h.Registry.Open(withPart(ctx, r), ref)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	setHeaders(w.Header(), ref, content.Result)
	e.Via, e.Reason = content.Via, content.Reason
	return cut(send(w, r, content, e, cancel))
}

// readContext returns the context for a body. For several ranges that is one
// which can end a read that has outlived its answer.
func readContext(r *http.Request) (context.Context, context.CancelFunc) {
	if !strings.Contains(r.Header.Get("Range"), ",") {
		return r.Context(), func() {}
	}
	return context.WithCancel(r.Context())
}

// setHeaders describes content as HEAD and GET both do.
func setHeaders(header http.Header, ref oci.Ref, a oci.Result) {
	d := a.Digest.String()
	header.Set("Docker-Content-Digest", d)
	header.Set("Etag", `"`+d+`"`)
	header.Set(viaHeader, string(a.Via))
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

// sendHead answers a HEAD as a GET would be, preconditions and all; but a Range
// is for GET alone: RFC 9110, section 14.2.
func sendHead(w http.ResponseWriter, r *http.Request, size int64) {
	if size == oci.UnknownSize {
		w.WriteHeader(http.StatusOK)
		return
	}
	r, _ = ranged(r, 0)
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(strings.NewReader(""), 0, size))
}

// send writes the content, or the ranges of it that are asked for. A body that
// is a plain file reaches the connection as it is, so the kernel sends it.
// cancel ends a read that waits.
func send(w http.ResponseWriter, r *http.Request, content *oci.Content, e *Event, cancel func()) error {
	body, ok := content.Body.(io.ReadSeeker)
	if !ok || content.Size == oci.UnknownSize {
		return sendWhole(w, content)
	}
	r, parts := ranged(r, content.Size)
	if p, ok := body.(oci.PartReader); ok {
		p.ReadParts(parts)
	}
	if file, ok := body.(*os.File); ok {
		http.ServeContent(w, r, "", time.Time{}, file)
		return nil
	}
	if v, ok := body.(viaTeller); ok {
		w = &viaWriter{ResponseWriter: w, body: v, event: e}
	}
	w = struct{ http.ResponseWriter }{w} // without ReadFrom, head and a small body go out in one write
	watched := &watched{body: body}
	http.ServeContent(w, r, "", time.Time{}, watched)
	cancel()
	return watched.end()
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

// viaTeller is a body of which parts may come another way than the rest.
type viaTeller interface{ Via() oci.Via }

// viaWriter corrects, at the last moment, how the answer says it comes: only
// then is it known which part is asked for.
type viaWriter struct {
	http.ResponseWriter
	body  viaTeller
	event *Event
}

func (w *viaWriter) WriteHeader(status int) {
	w.event.Via = w.body.Via()
	w.Header().Set(viaHeader, string(w.event.Via))
	w.ResponseWriter.WriteHeader(status)
	if status < http.StatusMultipleChoices {
		// The first bytes may be long in coming, and clients give up without a header.
		_ = http.NewResponseController(w.ResponseWriter).Flush() // the next write tells
	}
}

// Unwrap is for http.ResponseController.
func (w *viaWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
