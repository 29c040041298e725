package status

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"mirrord/internal/oci"
)

// Options of a Recorder.
type Options struct {
	// Pulls returns how many pulls were saved and spent since the start of the process.
	// It must not block for long.
	Pulls func() (saved, spent int64)
	// Clients reports whether clients are remembered, and shown. It may change.
	Clients func() bool

	Store       Store       // nil: a restart loses the history
	StoreFailed func(error) // called when Store begins to fail; nil: nobody is told
}

// Request is a request of a client for a manifest or a blob that has ended.
type Request struct {
	Upstream, Repository, Reference string // empty when those of the request are not valid

	Manifest bool // it was for a manifest
	Head     bool // it was a HEAD
	Client   oci.ClientKey
	Bytes    int64   // sent
	Via      oci.Via // empty after an error
	Failed   bool    // see Traffic.Failed
	Err      error   // why it failed, or nil
}

// hit reports whether r was served without asking for the content upstream.
func (r Request) hit() bool {
	return r.Via == oci.Hit || r.Via == oci.Known || r.Via == oci.Revalidated || r.Via == oci.Stale
}

// Recorder counts what a mirror does. New makes one; Run works for it. Its methods may be
// called concurrently.
type Recorder struct {
	opts    Options
	started time.Time
	now     func() time.Time

	counting     sync.Mutex // guards the two below, and the order of what Pulls returns
	saved, spent int64

	// Of the goroutine of Run.
	unsaved map[string][]byte
	failing bool // the last call of Store has failed

	mu       sync.Mutex // guards all below; held for no I/O
	series   series
	visits   visits
	images   uses[image]
	clients  uses[oci.ClientKey]
	problems problems
}

// New returns a Recorder that knows the history of the Store. It starts nothing: call Run.
func New(o Options) *Recorder {
	r := &Recorder{
		opts: o, started: time.Now(), now: time.Now, unsaved: make(map[string][]byte),
		series: newSeries(), visits: newVisits(), images: newUses[image](), clients: newUses[oci.ClientKey](), problems: newProblems(),
	}
	r.restore()
	return r
}

// countEvery is how long pulls may be counted late, and so in a later minute; saveEvery is
// how much of the history a kill may cost.
const (
	countEvery = 5 * time.Second
	saveEvery  = time.Minute
)

// Run counts pulls and stores the history until ctx ends. Run once.
func (r *Recorder) Run(ctx context.Context) error {
	count, save := time.NewTicker(countEvery), time.NewTicker(saveEvery)
	defer count.Stop()
	defer save.Stop()
	for {
		select {
		case <-count.C:
			r.countPulls()
		case <-save.C:
			r.save()
		case <-ctx.Done():
			r.countPulls()
			r.save()
			return nil
		}
	}
}

// countPulls counts the pulls since the last call. A total that has become smaller is that
// of fewer credentials.
func (r *Recorder) countPulls() {
	r.counting.Lock()
	defer r.counting.Unlock()
	saved, spent := r.opts.Pulls()
	d := Traffic{PullsSaved: max(0, saved-r.saved), PullsSpent: max(0, spent-r.spent)}
	r.saved, r.spent = saved, spent
	if d != (Traffic{}) {
		r.add(d)
	}
}

func (r *Recorder) add(d Traffic) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.series.add(now, d)
}

// Note counts a request.
func (r *Recorder) Note(q Request) {
	d := Traffic{Requests: 1, Bytes: q.Bytes}
	if q.hit() {
		d.Hits = 1
	}
	if q.Failed {
		d.Failed = 1
	}
	if !r.opts.Clients() {
		q.Client = oci.ClientKey{}
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.series.add(now, d)
	if q.Repository == "" {
		return
	}
	i, visit := r.visits.find(q, now)
	if q.Err != nil {
		r.problems.note(i, q.Err, now)
	}
	if q.Via == "" {
		return
	}
	h := hour{requests: d.Requests, hits: d.Hits, bytes: d.Bytes}
	if r.visits.note(q, i, visit, now) {
		h.pulls = 1
	}
	r.images.note(i, image.clone, now, h)
	if q.Client != (oci.ClientKey{}) {
		r.clients.note(q.Client, func(k oci.ClientKey) oci.ClientKey { return k }, now, h)
	}
}

// Fill sets what the Recorder knows in s.
func (r *Recorder) Fill(s *Status) {
	r.countPulls()
	images, clients := r.snapshot(s)
	s.Images = most(images)
	if r.opts.Clients() {
		s.Clients = most(clients)
	}
}

// snapshot sets all in s but the uses, which it returns in no order.
func (r *Recorder) snapshot(s *Status) (images []summed[image], clients []summed[oci.ClientKey]) {
	wanted := r.opts.Clients()
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Started, s.Now = r.started, now
	s.Start = r.series.start
	s.Today = r.series.days.of(r.series.today.day(now))
	s.Month = r.series.month(now)
	s.Errors = r.problems.list(now)
	if !wanted {
		r.clients.of.Purge()
	}
	return r.images.day(now), r.clients.day(now)
}

// History returns the traffic of the last day and year.
func (r *Recorder) History() History {
	r.countPulls()
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.series.history(now)
}

// Transport returns a transport that counts the bytes of the bodies that next receives.
func (r *Recorder) Transport(next http.RoundTripper) http.RoundTripper {
	return transport{r, next}
}

type transport struct {
	recorder *Recorder
	next     http.RoundTripper
}

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil {
		resp.Body = &fetched{resp.Body, t.recorder}
	}
	return resp, err
}

// fetched counts the bytes of a body as they are read.
type fetched struct {
	io.ReadCloser
	recorder *Recorder
}

func (f *fetched) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 {
		f.recorder.add(Traffic{Fetched: int64(n)})
	}
	return n, err
}

// leastHistory is how much of the last day is enough to say what an average day is.
const leastHistory = time.Hour

// Holds returns how long content stays in a cache of that many bytes at the rate at which
// it was fetched in the last day; 0 if that is not known, or nothing was fetched.
func (r *Recorder) Holds(capacity int64) time.Duration {
	now := r.now()
	r.mu.Lock()
	minutes := r.series.minutes.until(minuteNumber(now))
	r.mu.Unlock()
	var bytes int64
	for _, m := range minutes {
		bytes += m.Fetched
	}
	seen := time.Duration(len(minutes)) * time.Minute
	if seen < leastHistory || bytes == 0 {
		return 0
	}
	days := float64(capacity) / float64(bytes) * (seen.Hours() / 24)
	const most = 10 * 365
	return time.Duration(min(days, most) * float64(24*time.Hour))
}
