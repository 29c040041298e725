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

	"golang.org/x/sync/errgroup"

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

// Uploads puts into the bucket what was fetched and stored, in the background. New makes
// it; Run works for it. Its methods may be called concurrently.
type Uploads struct {
	opts  UploadOptions
	added chan struct{} // has one element after Add

	mu      sync.Mutex // guards the rest
	waiting []oci.Ref
	known   map[oci.Digest]struct{} // of those that wait or are in flight
}

const (
	uploadsAtOnce = 2
	maxUploads    = 100_000 // that wait
	idlePause     = time.Second
	uploadTime    = time.Minute // for any upload, and more for a large one:
	slowestUpload = 64 << 10    // bytes a second
)

// NewUploads returns Uploads that go on with what the queue has.
func NewUploads(o UploadOptions) *Uploads {
	return &Uploads{
		opts: o, added: make(chan struct{}, 1), known: make(map[oci.Digest]struct{}),
	}
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
	if !u.enqueue(ref) {
		return
	}
	if err := u.opts.Queue.PutUpload(ref); err != nil {
		u.refused(ref, fmt.Errorf("remember an upload: %w", err)) // it is uploaded all the same, if nothing comes between
	}
}

// enqueue reports whether ref waits from now on.
func (u *Uploads) enqueue(ref oci.Ref) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.known[ref.Digest()]; ok {
		return false
	}
	if len(u.waiting) >= maxUploads {
		u.opts.Registry.release(ref.Digest())
		return false
	}
	u.known[ref.Digest()] = struct{}{}
	u.waiting = append(u.waiting, ref)
	select {
	case u.added <- struct{}{}:
	default:
	}
	return true
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
		u.enqueue(ref)
	}
	var group errgroup.Group
	for range uploadsAtOnce {
		group.Go(func() error {
			for u.next(ctx) {
			}
			return nil
		})
	}
	return group.Wait()
}

// next uploads one, or waits for it. It reports whether there may be more.
func (u *Uploads) next(ctx context.Context) bool {
	ref, ok := u.take()
	if !ok {
		select {
		case <-u.added:
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
		u.putBack(ref)
		return call.Sleep(ctx, idlePause)
	default:
		u.refused(ref, err)
	}
	u.done(ref)
	return true
}

func (u *Uploads) take() (oci.Ref, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.waiting) == 0 {
		return oci.Ref{}, false
	}
	ref := u.waiting[0]
	u.waiting = u.waiting[1:]
	if len(u.waiting) > 0 { // for the next worker
		select {
		case u.added <- struct{}{}:
		default:
		}
	}
	return ref, true
}

// putBack puts ref at the end of the queue.
func (u *Uploads) putBack(ref oci.Ref) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waiting = append(u.waiting, ref)
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
