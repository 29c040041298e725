package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/oci"
)

// Queue remembers across restarts what is to be uploaded. Methods may be called
// concurrently.
type Queue interface {
	Uploads() iter.Seq2[oci.Ref, error]
	PutUpload(ref oci.Ref) error
	RemoveUpload(ref oci.Ref) error // an absent one is not an error
}

// UploadOptions of Uploads.
type UploadOptions struct {
	Registry *Registry // whose bucket it is
	Queue    Queue

	// Open opens what is cached of a ref. It fails with fs.ErrNotExist when that is gone.
	Open func(ctx context.Context, ref oci.Ref) (*oci.Content, error)
	// Public reports whether what was fetched for a ref is for everybody. It may ask the
	// upstream.
	Public func(ctx context.Context, ref oci.Ref) (bool, error)
}

// Uploads puts into the bucket what was fetched and stored, in the background. Manifests do
// not wait for blobs: another mirror would pay a pull for one that is not there yet.
// NewUploads makes it; Run works for it. Its methods may be called concurrently.
type Uploads struct {
	opts             UploadOptions
	manifests, blobs *line

	mu    sync.Mutex              // guards the rest, and what waits in the lines
	known map[oci.Digest]struct{} // of those that wait or are in flight
}

// line is what waits for its upload, in order. refs is guarded by Uploads.mu.
type line struct {
	added chan struct{} // has one element after add
	refs  []oci.Ref
}

func newLine() *line { return &line{added: make(chan struct{}, 1)} }

func (l *line) add(ref oci.Ref) {
	l.refs = append(l.refs, ref)
	l.wake()
}

// take takes the first, and wakes the next worker for the others.
func (l *line) take() (oci.Ref, bool) {
	if len(l.refs) == 0 {
		return oci.Ref{}, false
	}
	ref := l.refs[0]
	l.refs = l.refs[1:]
	if len(l.refs) > 0 {
		l.wake()
	}
	return ref, true
}

func (l *line) wake() {
	select {
	case l.added <- struct{}{}:
	default:
	}
}

const (
	uploadsAtOnce = 2       // of manifests, and as many of blobs
	maxUploads    = 100_000 // that wait or are in flight
	idlePause     = time.Second
	uploadTime    = time.Minute // for any upload, and more for a large one:
	slowestUpload = 64 << 10    // bytes a second
)

// NewUploads returns Uploads that go on with what the queue has.
func NewUploads(o UploadOptions) *Uploads {
	return &Uploads{opts: o, manifests: newLine(), blobs: newLine(), known: make(map[oci.Digest]struct{})}
}

// Stored notes that what the Registry opened for ref, by digest, is stored. What came from
// the upstream is uploaded.
func (u *Uploads) Stored(ref oci.Ref, via oci.Via) {
	shared := via == oci.Shared || via == oci.Peer
	if shared && !u.opts.Registry.fetched.Remove(ref.Digest()) {
		return
	}
	u.Add(ref)
}

// Add adds what was fetched for ref, by digest, from the upstream, unless so many wait
// that there is no end to be seen.
func (u *Uploads) Add(ref oci.Ref) {
	u.opts.Registry.keep(ref.Digest())
	if !u.accept(ref) {
		return
	}
	if err := u.opts.Queue.PutUpload(ref); err != nil { // before a worker can remove it
		u.refused(ref, fmt.Errorf("remember an upload: %w", err)) // it is uploaded all the same, if nothing comes between
	}
	u.enqueue(ref)
}

// accept reports whether ref is to be enqueued.
func (u *Uploads) accept(ref oci.Ref) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.known[ref.Digest()]; ok {
		return false
	}
	if len(u.known) >= maxUploads {
		u.opts.Registry.release(ref.Digest())
		return false
	}
	u.known[ref.Digest()] = struct{}{}
	return true
}

// enqueue puts ref, which was accepted, at the end of its line.
func (u *Uploads) enqueue(ref oci.Ref) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lineOf(ref).add(ref)
}

func (u *Uploads) lineOf(ref oci.Ref) *line {
	if ref.Kind() == oci.Manifest {
		return u.manifests
	}
	return u.blobs
}

// Waiting is how many uploads wait or are in flight.
func (u *Uploads) Waiting() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.known)
}

// Run uploads until ctx ends. What is not done then waits in the queue. Run once.
func (u *Uploads) Run(ctx context.Context) error {
	for ref, err := range u.opts.Queue.Uploads() {
		if err != nil {
			u.refused(oci.Ref{}, fmt.Errorf("read the queue of uploads: %w", err))
			continue
		}
		if u.accept(ref) {
			u.enqueue(ref)
		}
	}
	var workers sync.WaitGroup
	for _, l := range []*line{u.manifests, u.blobs} {
		for range uploadsAtOnce {
			workers.Go(func() {
				for u.next(ctx, l) {
				}
			})
		}
	}
	workers.Wait()
	return nil
}

// next uploads the first of a line, or waits for one. It reports whether there may be more.
func (u *Uploads) next(ctx context.Context, l *line) bool {
	u.mu.Lock()
	ref, ok := l.take()
	u.mu.Unlock()
	if !ok {
		select {
		case <-l.added:
			return true
		case <-ctx.Done():
			return false
		}
	}
	err := u.upload(ctx, ref)
	switch {
	case ctx.Err() != nil:
		return false
	case err == nil:
	case !errors.Is(err, errLocal): // of the bucket or the upstream: it passes
		u.enqueue(ref)
		return call.Sleep(ctx, idlePause)
	default:
		u.refused(ref, err)
	}
	u.done(ref)
	return true
}

func (u *Uploads) done(ref oci.Ref) {
	if err := u.opts.Queue.RemoveUpload(ref); err != nil {
		u.refused(ref, fmt.Errorf("forget an upload: %w", err)) // it is found in the bucket after the next start
	}
	u.mu.Lock()
	delete(u.known, ref.Digest()) // at last, or what is added again meanwhile would be forgotten
	u.mu.Unlock()
	u.opts.Registry.release(ref.Digest())
}

func (u *Uploads) refused(ref oci.Ref, err error) {
	if report := u.opts.Registry.opts.Hooks.Refused; report != nil {
		report(ref, err)
	}
}

// errLocal marks what no other try would change.
var errLocal = errors.New("cannot be uploaded")

// upload puts ref into the bucket, unless it is there, gone here, or not for everybody.
func (u *Uploads) upload(ctx context.Context, ref oci.Ref) error {
	public, err := u.opts.Public(ctx, ref)
	if err != nil && !oci.Temporary(err) {
		return fmt.Errorf("%w: %w", errLocal, err)
	}
	key, ok := u.opts.Registry.keyOf(ref, public)
	if err != nil || !ok {
		return err
	}
	content, err := u.opts.Open(ctx, ref)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errLocal, err)
	}
	defer func() { _ = content.Close() }()
	body, ok := content.Body.(io.ReaderAt)
	if !ok {
		return fmt.Errorf("%w: %s is cached as a %T", errLocal, ref, content.Body)
	}
	verifier := ref.Digest().Verifier()
	if _, err := io.Copy(verifier, io.NewSectionReader(body, 0, content.Size)); err != nil {
		return fmt.Errorf("%w: %w", errLocal, err)
	}
	if !verifier.Verified() {
		return fmt.Errorf("%w: %s is damaged on the disk: %w", errLocal, ref, oci.ErrCorrupt)
	}
	return u.send(ctx, ref, key, body, content.Size)
}

// kept is content whose lease is held for as long as it is being read.
type kept struct {
	io.ReaderAt
	keep func()
}

func (k kept) ReadAt(p []byte, off int64) (int, error) {
	k.keep()
	return k.ReaderAt.ReadAt(p, off)
}

func (u *Uploads) send(ctx context.Context, ref oci.Ref, key string, body io.ReaderAt, size int64) error {
	r := u.opts.Registry
	ctx, cancel := context.WithTimeoutCause(ctx, uploadTime+time.Duration(size/slowestUpload)*time.Second, bucket.ErrTimeout)
	defer cancel()
	body = kept{body, func() { r.keep(ref.Digest()) }}
	err := r.opts.Bucket.Upload(ctx, key, body, size, r.cond(ref.Digest(), key))
	switch {
	case errors.Is(err, bucket.ErrPrecondition): // another mirror was faster
		r.wrong.Remove(ref.Digest())
		return nil
	case errors.Is(err, bucket.ErrUnsupported): // all of it would be sent again and again
		return fmt.Errorf("%w: %w", errLocal, err)
	case err != nil:
		return err
	}
	r.wrong.Remove(ref.Digest())
	if report := r.opts.Hooks.Uploaded; report != nil {
		report(ref, size)
	}
	return nil
}
