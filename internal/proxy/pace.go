package proxy

import (
	"context"
	"io"
	"net/http"
)

// Pacer says when bytes may be sent. Wait returns when the client of ctx, see
// oci.ClientOf, may be sent n bytes, which is no more than Piece; it fails when ctx
// ends. Methods may be called concurrently.
type Pacer interface {
	Piece() int
	Wait(ctx context.Context, n int) error
}

// paced returns w for a body that is sent no faster than the pacer allows.
func (h *Handler) paced(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if h.options.Pace == nil {
		return w
	}
	return &pacedWriter{ResponseWriter: w, ctx: r.Context(), pacer: h.options.Pace}
}

// pacedWriter sends a body in pieces, and waits before each. Those who cut off slow
// clients are below it, so that they do not see it wait.
type pacedWriter struct {
	http.ResponseWriter
	ctx   context.Context // of the request
	pacer Pacer
}

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write sends p a piece at a time.
func (w *pacedWriter) Write(p []byte) (written int, err error) {
	for len(p) > 0 && err == nil {
		piece := p[:min(len(p), w.pacer.Piece())]
		p = p[len(piece):]
		if err = w.pacer.Wait(w.ctx, len(piece)); err != nil {
			return written, err
		}
		var n int
		n, err = w.ResponseWriter.Write(piece)
		written += n
	}
	return written, err
}

// ReadFrom lets the kernel send a file, a piece at a time. net/http gives it below an
// io.LimitedReader.
func (w *pacedWriter) ReadFrom(r io.Reader) (total int64, err error) {
	whole, isLimited := r.(*io.LimitedReader)
	next, isReaderFrom := w.ResponseWriter.(io.ReaderFrom)
	if !isLimited || !isReaderFrom {
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	for whole.N > 0 {
		piece := &io.LimitedReader{R: whole.R, N: min(whole.N, int64(w.pacer.Piece()))}
		want := piece.N
		if err := w.pacer.Wait(w.ctx, int(want)); err != nil {
			return total, err
		}
		n, err := next.ReadFrom(piece)
		total += n
		whole.N -= n
		if err != nil || n < want {
			return total, err
		}
	}
	return total, nil
}
