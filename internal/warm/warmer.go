package warm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mirrord/internal/oci"
)

// Cache is what the Warmer sees of the cache: what it has, and past it the upstreams.
// Methods may be called concurrently.
type Cache interface {
	// Resolve of a ref by tag, and List, ask the upstream.
	oci.Registry
	// Cached describes ref, by digest, if it can be served now.
	Cached(ref oci.Ref) (oci.Descriptor, bool)
	// OpenCached opens ref, by digest, without the upstream. It fails with
	// fs.ErrNotExist when ref is not cached.
	OpenCached(ctx context.Context, ref oci.Ref) (*oci.Content, error)
	// Stored waits until ref, by digest, which was read to its end, is on the disk. It
	// fails when ref is not cached.
	Stored(ctx context.Context, ref oci.Ref) error
}

// Options of a Warmer. All are required.
type Options struct {
	Registry oci.Registry // what clients are served from, which fetches
	Cache    Cache

	Parse   func(name string) (oci.Ref, error) // the image that clients mean by a name
	Reserve func(upstream string) error        // why no pull of an upstream should be spent, an *oci.LimitError; nil when one may be
	Offline func() bool                        // the upstreams are not to be asked
}

const (
	imagesAtOnce = 4 // that are planned or fetched
	blobsAtOnce  = 3 // of one image
)

// ErrBusy says that images are being warmed already.
var ErrBusy = errors.New("images are being warmed already; try again when that is done")

// Warmer fetches images into the cache. Its methods may be called concurrently, and Run
// works for one at a time.
type Warmer struct {
	opts Options
	turn chan struct{} // holds one while Run works
}

// New returns a Warmer. It starts nothing.
func New(o Options) *Warmer { return &Warmer{opts: o, turn: make(chan struct{}, 1)} }

// Job is what to warm.
type Job struct {
	Images    []Image  `json:"images"`
	Platforms []string `json:"platforms,omitempty"` // such as linux/arm64, or AllPlatforms; none: that of this host
	MaxPulls  int      `json:"max_pulls,omitempty"` // that may be spent; 0: no limit but those of the upstreams
}

// Check returns what is wrong with j, nil when nothing is.
func (j Job) Check() error {
	_, err := j.check()
	return err
}

// Ready returns why nothing can be warmed now: ErrBusy, or that the mirror is offline.
func (w *Warmer) Ready() error {
	if w.opts.Offline() {
		return fmt.Errorf("%w: set offline: false, reload, and try again", oci.ErrOffline)
	}
	if len(w.turn) > 0 {
		return ErrBusy
	}
	return nil
}

// check returns the platforms of j, or what is wrong with it.
func (j Job) check() (wanted, error) {
	if len(j.Images) == 0 || len(j.Images) > maxImages {
		return wanted{}, fmt.Errorf("%d images; name 1 to %d", len(j.Images), maxImages)
	}
	if j.MaxPulls < 0 {
		return wanted{}, fmt.Errorf("max_pulls is %d; write 1 or more, or leave it out for no limit", j.MaxPulls)
	}
	return parsePlatforms(j.Platforms)
}

// Outcome is what became of an image. There are no others than these, so it serves as a
// metric's label.
type Outcome string

const (
	Warmed  Outcome = "warmed"  // something of it was fetched, and all of it is on the disk
	Cached  Outcome = "cached"  // all of it was there
	Waiting Outcome = "waiting" // for the pull limit of its upstream
	Failed  Outcome = "failed"  // also when it was fetched and could not be stored
)

// Outcomes are all of them.
var Outcomes = []Outcome{Warmed, Cached, Waiting, Failed}

// Result is what became of one image.
type Result struct {
	Image   string  `json:"image"`
	Outcome Outcome `json:"outcome"`
	Error   string  `json:"error,omitempty"`
}

// Summary is what became of a Job. Images that it does not count were not reached.
type Summary struct {
	Images  int        `json:"images"`
	Warmed  int        `json:"warmed"`
	Cached  int        `json:"cached"`
	Waiting int        `json:"waiting"`
	Failed  int        `json:"failed"`
	Bytes   int64      `json:"bytes"`              // of blobs that were fetched
	RetryAt *time.Time `json:"retry_at,omitempty"` // when the limit is over for which some wait, if that is known
	Spent   bool       `json:"spent,omitempty"`    // some were not reached, because MaxPulls are spent
}

// Count counts an image.
func (s *Summary) Count(o Outcome) {
	switch o {
	case Warmed:
		s.Warmed++
	case Cached:
		s.Cached++
	case Waiting:
		s.Waiting++
	case Failed:
		s.Failed++
	}
}

// Counts returns the number of images of each outcome.
func (s Summary) Counts() map[Outcome]int {
	return map[Outcome]int{Warmed: s.Warmed, Cached: s.Cached, Waiting: s.Waiting, Failed: s.Failed}
}

// Done is how many images were dealt with.
func (s Summary) Done() int { return s.Warmed + s.Cached + s.Waiting + s.Failed }

// Text says in a line what became of the images, at the time now.
func (s Summary) Text(now time.Time) string {
	text := fmt.Sprintf("warmed %d of %d", s.Warmed+s.Cached, s.Images)
	if s.Cached > 0 {
		text += fmt.Sprintf(" (%d %s cached)", s.Cached, either(s.Cached, "was", "were"))
	}
	if s.Failed > 0 {
		text += fmt.Sprintf("; %d failed", s.Failed)
	}
	if s.Waiting > 0 {
		text += fmt.Sprintf("; %d %s for the limit", s.Waiting, either(s.Waiting, "waits", "wait"))
		if s.RetryAt != nil {
			text += fmt.Sprintf(", which resets in %s", hoursAndMinutes(s.RetryAt.Sub(now)))
		}
	}
	if left := s.Images - s.Done(); left > 0 {
		text += fmt.Sprintf("; %d %s not reached", left, either(left, "was", "were"))
	}
	if s.Spent {
		text += ", because max_pulls are spent"
	}
	return text
}

// either is what is said of one thing, or of several.
func either(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}

// hoursAndMinutes rounds up to minutes.
func hoursAndMinutes(d time.Duration) string {
	minutes := int((max(d, 0) + time.Minute - 1) / time.Minute)
	if minutes < 60 {
		return fmt.Sprintf("%dm", minutes)
	}
	return fmt.Sprintf("%dh%dm", minutes/60, minutes%60)
}

// Progress is how far a Job is.
type Progress struct {
	Images int   `json:"images"` // dealt with
	Bytes  int64 `json:"bytes"`  // of blobs, fetched
	Of     int64 `json:"of"`     // bytes that are known to be missing, those included
}

// Report is told what happens, one call at a time. Each may be nil.
type Report struct {
	Planned  func(*Plan)
	Progress func(Progress)
	Result   func(Result)
}
