package sibling

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
)

// Path is the beginning of the paths that a Handler serves: Path, algorithm and hex of a
// digest.
const Path = "/fleet/v1/pub/"

const (
	// answerTime is how long a request waits for the upstream's response to what is
	// being fetched.
	answerTime = 2500 * time.Millisecond

	maxStreams       = 64 // of one mirror
	maxDigestStreams = 8  // of one digest
)

// HandlerOptions of a Handler.
type HandlerOptions struct {
	Secret keys.Secret
	Boot   string // of this process

	// Open opens public content that is cached or in flight, and starts nothing. It
	// fails with fs.ErrNotExist, and with the end of ctx while the upstream has not
	// responded. The body of content in flight withholds the last byte until all is
	// verified.
	Open func(ctx context.Context, d oci.Digest) (*oci.Content, error)

	// Served and Refused report requests; nil: nobody wants to know.
	Served  func(node string, d oci.Digest, bytes int64)
	Refused func(remote string, err error)
}

// Handler serves the siblings. It may be called concurrently.
type Handler struct {
	opts     HandlerOptions
	verifier *verifier

	mu      sync.Mutex // guards the rest
	streams map[oci.Digest]int
	all     int
}

// NewHandler returns a Handler.
func NewHandler(o HandlerOptions) *Handler {
	return &Handler{opts: o, verifier: newVerifier(o.Secret, o.Boot), streams: make(map[oci.Digest]int)}
}

// Streams is how many siblings are being served.
func (h *Handler) Streams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, key, err := h.verifier.verify(r)
	if err != nil {
		if errors.Is(err, errClock) {
			w.Header().Set(timeHeader, clockHeader(key, from.nonce))
		}
		if h.opts.Refused != nil {
			h.opts.Refused(r.RemoteAddr, err)
		}
		http.Error(w, "not a mirror of this fleet, or not this process of it", http.StatusUnauthorized)
		return
	}
	d, ok := digestOf(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if !h.enter(d) {
		http.Error(w, "too many streams", http.StatusServiceUnavailable)
		return
	}
	defer h.leave(d)
	h.serve(w, r, from.node, d)
}

// digestOf returns what r asks for: one range to the end at most.
func digestOf(r *http.Request) (oci.Digest, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, Path)
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return "", false
	}
	if span := r.Header.Get("Range"); span != "" && (!strings.HasSuffix(span, "-") || strings.Contains(span, ",")) {
		return "", false
	}
	d, err := oci.ParseDigest(strings.Replace(rest, "/", ":", 1))
	return d, err == nil
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, node string, d oci.Digest) {
	content, stop, err := h.open(r.Context(), d)
	defer stop()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.NotFound(w, r)
		return
	case err != nil:
		http.Error(w, "cannot be read now", http.StatusServiceUnavailable)
		return
	}
	defer func() { _ = content.Close() }()
	body, ok := content.Body.(io.ReadSeeker)
	if !ok {
		http.Error(w, "cannot be read now", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	counted := &counted{ResponseWriter: w}
	http.ServeContent(counted, r, "", time.Time{}, body) // cuts the response when the body fails
	if h.opts.Served != nil {
		h.opts.Served(node, d, counted.bytes)
	}
}

// open opens d within answerTime. The caller calls stop when the content is closed.
func (h *Handler) open(ctx context.Context, d oci.Digest) (_ *oci.Content, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(answerTime, cancel)
	content, err := h.opts.Open(ctx, d)
	if !timer.Stop() && err == nil {
		err = errors.Join(context.Canceled, content.Close())
	}
	return content, cancel, err
}

// enter reports whether there may be one more stream, for d.
func (h *Handler) enter(d oci.Digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all >= maxStreams || h.streams[d] >= maxDigestStreams {
		return false
	}
	h.all++
	h.streams[d]++
	return true
}

func (h *Handler) leave(d oci.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all--
	if h.streams[d]--; h.streams[d] == 0 {
		delete(h.streams, d)
	}
}

// counted counts the bytes of a response. A file is sent without copying it through this
// process.
type counted struct {
	http.ResponseWriter
	bytes int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}

func (c *counted) ReadFrom(from io.Reader) (int64, error) {
	n, err := io.Copy(c.ResponseWriter, from)
	c.bytes += n
	return n, err
}
