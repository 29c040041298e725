package warm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"mirrord/internal/oci"
)

// Run plans and fetches j. It fails as Plan does, and with ErrBusy; what becomes of the
// images is in the Summary. When ctx ends, no more is begun, and Run fails with its cause.
func (w *Warmer) Run(ctx context.Context, j Job, report Report) (Summary, error) {
	select {
	case w.turn <- struct{}{}:
	default:
		return Summary{}, ErrBusy
	}
	defer func() { <-w.turn }()
	return w.run(ctx, j, report)
}

// RunInTurn is Run after all that is being warmed, or waits for its turn before.
func (w *Warmer) RunInTurn(ctx context.Context, j Job, report Report) (Summary, error) {
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return Summary{}, context.Cause(ctx)
	}
	defer func() { <-w.turn }()
	return w.run(ctx, j, report)
}

func (w *Warmer) run(ctx context.Context, j Job, report Report) (Summary, error) {
	plan, err := w.Plan(ctx, j)
	if err != nil {
		return Summary{}, err
	}
	want, err := j.check()
	if err != nil {
		return Summary{}, err
	}
	r := &run{
		Warmer: w, want: want, report: report, maxPulls: j.MaxPulls, pulling: make(chan struct{}, 1), limits: make(map[string]*oci.LimitError),
		summary: Summary{Images: plan.Images},
	}
	if report.Planned != nil {
		report.Planned(plan)
	}
	ctx = oci.WithBackground(ctx)
	var group errgroup.Group
	group.SetLimit(imagesAtOnce)
	for i := range plan.Entries {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			r.do(ctx, &plan.Entries[i])
			return nil
		})
	}
	_ = group.Wait() // what fails is in the summary
	return r.finish(), context.Cause(ctx)
}

// errSpent says that a run has spent the pulls that it may.
var errSpent = errors.New("max_pulls are spent")

// run is one Run.
type run struct {
	*Warmer
	want     wanted
	report   Report
	maxPulls int // 0: no limit

	pulling chan struct{} // holds one while one manifest is fetched, so that no two spend the last pull
	pulls   int           // spent; guarded by pulling

	mu       sync.Mutex                 // guards all below, and calls of report
	limits   map[string]*oci.LimitError // by upstream: for which no more is pulled
	progress Progress
	summary  Summary
	told     time.Time // when progress was last reported
}

// do fetches what is missing of one image.
func (r *run) do(ctx context.Context, e *Entry) {
	result := Result{Image: e.Image, Outcome: Cached, Error: e.Error}
	var err error
	switch limit := r.limit(e.ref.Upstream()); {
	case e.Error != "":
		result.Outcome = Failed
	case limit != nil && e.Pulls > 0:
		err = limit
	case !e.Cached:
		result.Outcome = Warmed
		err = r.fetch(ctx, e)
	default:
		err = r.confirm(ctx, e)
	}
	var limit *oci.LimitError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return // it counts as not reached
	case errors.Is(err, errSpent):
		r.noteSpent()
		return
	case errors.As(err, &limit):
		result.Outcome, result.Error = Waiting, limit.Error()
		r.noteLimit(e.ref.Upstream(), limit)
	default:
		result.Outcome, result.Error = Failed, err.Error()
	}
	r.done(result)
}

// confirm confirms the tag of an image that is cached, which costs nothing, and waits until
// all of it is on the disk: its manifests may be in memory only.
func (r *run) confirm(ctx context.Context, e *Entry) error {
	for _, m := range e.manifests {
		if err := r.opts.Cache.Stored(ctx, m); err != nil {
			return err
		}
	}
	if e.ref.ByDigest() {
		return nil
	}
	_, err := r.opts.Registry.Resolve(ctx, e.ref)
	return err
}

// fetch fetches what is missing of an image. It fails unless all of it is on the disk in
// the end: the cache may have evicted the first blobs for the last ones.
func (r *run) fetch(ctx context.Context, e *Entry) error {
	top, err := r.top(ctx, e)
	if err == nil {
		top, err = r.image(ctx, top, make(visited))
	}
	if err != nil {
		return err
	}
	var left Entry
	if err := r.cost(ctx, &left, top, false, r.want, make(visited)); err != nil {
		return err
	}
	if left.Pulls+left.missing > 0 {
		return fmt.Errorf("%s was fetched, and parts of it were evicted again, %d in all: raise cache.max_size, or warm less at once", e.Image, left.Pulls+left.missing)
	}
	return nil
}

// top returns the name to fetch an image by: its digest if the manifest is cached, which
// spends no pull, so that no limit applies. The tag is confirmed then.
func (r *run) top(ctx context.Context, e *Entry) (oci.Ref, error) {
	if e.ref.ByDigest() || len(e.manifests) == 0 {
		return e.ref, nil
	}
	now, err := r.opts.Registry.Resolve(ctx, e.ref)
	if planned := e.manifests[0]; err == nil && now.Via != oci.Stale && planned == e.ref.At(now.Digest) {
		return planned, nil
	}
	return e.ref, err
}

// image fetches what is missing of what ref names now, but for manifests in seen, and
// returns when that is on the disk. It returns the digest of ref.
func (r *run) image(ctx context.Context, ref oci.Ref, seen visited) (oci.Ref, error) {
	top, m, err := r.manifest(ctx, ref)
	if err != nil {
		return top, err
	}
	children, err := m.children(top, r.want, seen)
	if err != nil {
		return top, fmt.Errorf("%s %w", ref, err)
	}
	for _, child := range children {
		if _, err := r.image(ctx, child, seen); err != nil {
			return top, err
		}
	}
	missing, err := r.missing(top, m)
	if err != nil {
		return top, err
	}
	r.expect(missing)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(blobsAtOnce)
	for _, b := range missing {
		group.Go(func() error { return r.blob(ctx, b) })
	}
	group.Go(func() error { return r.opts.Cache.Stored(ctx, top) })
	return top, group.Wait()
}

// manifest returns the manifest of ref and its own name, fetched if it is not cached.
func (r *run) manifest(ctx context.Context, ref oci.Ref) (oci.Ref, manifest, error) {
	if ref.ByDigest() {
		if m, ok, err := r.cached(ctx, ref); ok || err != nil {
			return ref, m, err
		}
	}
	select {
	case r.pulling <- struct{}{}:
	case <-ctx.Done():
		return ref, manifest{}, context.Cause(ctx)
	}
	defer func() { <-r.pulling }()
	if r.maxPulls > 0 && r.pulls >= r.maxPulls {
		return ref, manifest{}, errSpent
	}
	if err := r.opts.Reserve(ref.Upstream()); err != nil {
		return ref, manifest{}, err
	}
	content, err := r.opts.Registry.Open(ctx, ref)
	if err != nil {
		return ref, manifest{}, err
	}
	if content.Via == oci.Stale {
		_ = content.Close()
		return ref, manifest{}, oci.Errorf(oci.Unavailable, "%s: only a stale copy is cached (%s)", ref, content.Reason)
	}
	if content.Via == oci.Fill || content.Via == oci.Pass {
		r.pulls++
	}
	m, err := readManifest(content)
	return ref.At(content.Digest), m, err
}

// blob fetches one, and returns when it is on the disk. What bypasses the cache is not
// read: nothing would be gained by it.
func (r *run) blob(ctx context.Context, b blob) error {
	content, err := r.opts.Registry.Open(ctx, b.ref)
	if err != nil {
		return err
	}
	if content.Via != oci.Pass {
		_, err = io.Copy(counter(func(n int) { r.received(int64(n)) }), content.Body)
	}
	if err := errors.Join(err, content.Close()); err != nil {
		return err
	}
	return r.opts.Cache.Stored(ctx, b.ref)
}

// counter is a writer that counts.
type counter func(n int)

func (c counter) Write(p []byte) (int, error) {
	c(len(p))
	return len(p), nil
}

const progressEvery = 200 * time.Millisecond

// received counts bytes of blobs, and reports them now and then.
func (r *run) received(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress.Bytes += n
	r.summary.Bytes += n
	r.progress.Of = max(r.progress.Of, r.progress.Bytes)
	if now := time.Now(); r.report.Progress != nil && now.Sub(r.told) >= progressEvery {
		r.told = now
		r.report.Progress(r.progress)
	}
}

// expect adds what is missing of an image to what will be fetched.
func (r *run) expect(missing []blob) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range missing {
		r.progress.Of += b.size
	}
}

// done counts and reports an image.
func (r *run) done(result Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.summary.Count(result.Outcome)
	r.progress.Images++
	if r.report.Result != nil {
		r.report.Result(result)
	}
}

// limit returns why nothing is pulled from an upstream any more, or nil.
func (r *run) limit(upstream string) *oci.LimitError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limits[upstream]
}

func (r *run) noteLimit(upstream string, limit *oci.LimitError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits[upstream] = limit
}

func (r *run) noteSpent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.summary.Spent = true
}

// finish returns the summary.
func (r *run) finish() Summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, limit := range r.limits {
		over := limit.ResetBy
		if over.IsZero() {
			over = limit.RetryAt
		}
		if !over.IsZero() && (r.summary.RetryAt == nil || over.After(*r.summary.RetryAt)) {
			r.summary.RetryAt = &over
		}
	}
	return r.summary
}
