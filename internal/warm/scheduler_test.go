package warm_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mirrord/internal/oci"
	"mirrord/internal/schedule"
	"mirrord/internal/warm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry has images without layers, each of which costs a pull and takes a time. Those
// whose repository has none in its name it does not have.
type registry struct {
	warm.Cache // nothing else is asked of it
	takes      time.Duration

	mu      sync.Mutex
	limited *oci.LimitError // nil: pulls are left
	offline bool
}

func (*registry) Resolve(context.Context, oci.Ref) (oci.Result, error) {
	return oci.Result{}, oci.ErrNeedsGet
}

func (r *registry) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	select {
	case <-time.After(r.takes):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if strings.Contains(ref.Repository(), "none") {
		return nil, oci.Errorf(oci.ManifestUnknown, "%s: not found", ref)
	}
	return &oci.Content{Result: oci.Result{Via: oci.Fill}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

func (*registry) Cached(oci.Ref) (oci.Descriptor, bool) {
	return oci.Descriptor{Digest: "sha256:"}, true
}
func (*registry) Stored(context.Context, oci.Ref) error { return nil }
func (*registry) OpenCached(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	return &oci.Content{Result: oci.Result{Via: oci.Hit}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

func (r *registry) set(limited *oci.LimitError, offline bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limited, r.offline = limited, offline
}

// office is a Scheduler that works in a bubble, and what it did.
type office struct {
	*warm.Scheduler
	registry *registry
	mu       sync.Mutex
	log      []string // "DAY HH:MM LIST OUTCOME", of the beginning
}

// open starts a Scheduler with lists, in a bubble whose time begins at midnight UTC of
// Saturday 2000-01-01.
func open(t *testing.T, takes time.Duration, lists ...warm.Scheduled) *office {
	t.Helper()
	o := &office{registry: &registry{takes: takes}}
	note := func(at time.Time, list, outcome string) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.log = append(o.log, at.UTC().Format("02 15:04 ")+list+" "+outcome)
	}
	warmer := warm.New(warm.Options{Registry: o.registry, Cache: o.registry, Parse: parse, Reserve: func(string) error {
		o.registry.mu.Lock()
		defer o.registry.mu.Unlock()
		if o.registry.limited != nil {
			return o.registry.limited
		}
		return nil
	}, Offline: func() bool {
		o.registry.mu.Lock()
		defer o.registry.mu.Unlock()
		return o.registry.offline
	}})
	o.Scheduler = warm.NewScheduler(warmer, warm.Hooks{
		Ended:   func(list string, c warm.Completed) { note(c.Began, list, string(c.Outcome)+c.Error) },
		Skipped: func(list string, _ time.Time) { note(time.Now(), list, "skipped") },
	})
	o.Set(lists)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = o.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	synctest.Wait()
	return o
}

// saw fails t unless this was done since it was asked last.
func (o *office) saw(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	if diff := cmp.Diff(want, o.log); diff != "" {
		t.Errorf("at %s (-want +got):\n%s", time.Now().UTC().Format("02 15:04"), diff)
	}
	o.log = nil
}

func list(t *testing.T, name, when string, images ...string) warm.Scheduled {
	t.Helper()
	s, err := schedule.Parse(when, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	l := warm.Scheduled{Name: name, Schedule: s}
	for _, i := range images {
		l.Images = append(l.Images, warm.Image{Name: i})
	}
	return l
}

// Lists are warmed when they are due, one after the other; what is known of one survives
// a change of the others.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, other := list(t, "base", "0 5 * * *", "app:1", "app:2"), list(t, "other", "0 5,6 * * *", "app", "none")
		o := open(t, time.Minute, base, other)
		time.Sleep(5*time.Hour - time.Second)
		o.saw(t)
		time.Sleep(10 * time.Minute)
		o.saw(t, "01 05:00 base done", "01 05:02 other failed")
		got := o.Status()
		if len(got) != 2 || got[0].Last.Summary.Warmed != 2 || got[0].Next.Format("02 15:04") != "02 05:00" || got[0].LastSuccess.Format("15:04") != "05:02" || got[0].Running {
			t.Errorf("%+v", got)
		}
		if last := got[1].Last; len(last.Failures) != 1 || last.Failures[0].Image != "docker.io/library/none:latest" || !got[1].LastSuccess.IsZero() || got[1].Runs[warm.RunFailed] != 1 {
			t.Errorf("%+v", got[1])
		}
		third := list(t, "third", "30 5 * * *", "app")
		o.Set([]warm.Scheduled{third, base})
		time.Sleep(2 * time.Hour)
		o.saw(t, "01 05:30 third done")
		if got := o.Status(); len(got) != 2 || got[0].Name != "third" || got[1].Last == nil {
			t.Errorf("%+v", got)
		}
		base.Schedule = third.Schedule
		o.Set([]warm.Scheduled{base})
		o.registry.set(nil, true)
		time.Sleep(24 * time.Hour)
		o.saw(t) // offline
		if next := o.Status()[0].Next; !next.IsZero() {
			t.Errorf("offline the next run is at %s", next)
		}
		o.registry.set(nil, false)
		time.Sleep(24 * time.Hour)
		o.saw(t, "03 05:30 base done")
	})
}

// A run that is not over when its list is due again is not joined by others.
func TestScheduleDoesNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, 49*time.Minute, list(t, "long", "*/30 * * * *", "app:1", "app:2"), list(t, "short", "0 * * * *", "app"))
		time.Sleep(5*time.Hour + 10*time.Minute)
		o.saw(t, // 98 minutes, then 49 of the other list, which waits for its turn
			"01 01:00 long skipped", "01 01:30 long skipped", "01 02:00 long skipped", "01 02:00 short skipped", "01 00:30 long done", "01 02:08 short done",
			"01 03:00 long skipped", "01 03:30 long skipped", "01 04:00 long skipped", "01 04:00 short skipped", "01 04:30 long skipped", "01 02:57 long done",
			"01 05:00 short skipped")
		if runs := o.Status()[0].Runs; runs[warm.RunSkipped] != 7 || runs[warm.RunDone] != 2 {
			t.Errorf("%v", runs)
		}
	})
}

// A run that a limit stops is repeated when that is over, unless the list is due before.
func TestScheduleAfterLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, time.Second, list(t, "base", "0 5 * * *", "app"))
		o.registry.set(&oci.LimitError{Kind: oci.LimitReserve, ResetBy: time.Now().Add(9 * time.Hour)}, false)
		time.Sleep(6 * time.Hour)
		o.saw(t, "01 05:00 base waiting")
		if next := o.Status()[0].Next; next.UTC().Format("02 15:04") != "01 09:00" {
			t.Errorf("next at %s", next)
		}
		time.Sleep(3*time.Hour + 15*time.Minute)
		o.saw(t, "01 09:00 base waiting", "01 09:10 base waiting")
		o.registry.set(nil, false)
		time.Sleep(14 * time.Hour)
		o.saw(t, "01 09:20 base done")
		o.registry.set(&oci.LimitError{Kind: oci.LimitReserve, ResetBy: time.Now().Add(48 * time.Hour)}, false)
		time.Sleep(47 * time.Hour)
		o.saw(t, "02 05:00 base waiting", "03 05:00 base waiting")
		o.registry.set(nil, false)
		if _, err := o.RunNow(t.Context(), "base", warm.Report{}); err != nil {
			t.Error(err)
		}
		o.saw(t, "03 22:15 base done")
		time.Sleep(6 * time.Hour)
		o.saw(t) // which was what the retry was for
	})
}

// A file is read at each run, and what is wrong in it is said with its line.
func TestScheduleReadsFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "list.txt")
		l := list(t, "base", "@hourly")
		l.File = path
		o := open(t, 0, l)
		for i, test := range []struct{ text, want string }{
			{"app:1\n", "done"},
			{"app:1\n-x\n", fmt.Sprintf("failed%s:2: %q is not the name of an image; write for example alpine:3 or ghcr.io/org/app:v1", path, "-x")},
			{"", fmt.Sprintf("failed%s names no image; write one a line, such as alpine:3", path)},
			{"app:1\nnone\n", "failed"},
			{"services: {a: {image: 'app:${NO_SUCH}'}}\n", fmt.Sprintf("failed%s names no image that can be warmed: %s:1: app:${NO_SUCH} needs the variable NO_SUCH, which is not set and has no default", path, path)},
			{"app:1\n", "done"},
		} {
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			o.saw(t, fmt.Sprintf("01 %02d:00 base %s", i+1, test.want))
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		o.saw(t, fmt.Sprintf("01 07:00 base failedstat %s: no such file or directory", path))
		if _, err := warm.ReadFile(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
			t.Errorf("a directory: %v", err)
		}
	})
}

// A list is warmed on demand, once at a time, and no run spends more than its pulls.
func TestRunNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := list(t, "base", "0 5 * * *", "app:1", "app:2", "app:3", "app:4", "app:5", "app:6", "app:7")
		l.MaxPulls = 5
		o := open(t, time.Minute, l)
		var running sync.WaitGroup
		running.Go(func() {
			summary, err := o.RunNow(t.Context(), "base", warm.Report{})
			if err != nil || summary.Warmed != 5 || !summary.Spent || summary.Text(time.Now()) != "warmed 5 of 7; 2 were not reached, because max_pulls are spent" {
				t.Errorf("%+v, %v", summary, err)
			}
		})
		synctest.Wait()
		if _, err := o.RunNow(t.Context(), "base", warm.Report{}); err == nil || !o.Status()[0].Running {
			t.Errorf("a second one: %v", err)
		}
		running.Wait()
		o.saw(t, "01 00:00 base waiting")
		if s := o.Status()[0]; s.Running || s.Next.Format("15:04") != "05:00" {
			t.Errorf("%+v", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := o.RunNow(ctx, "base", warm.Report{}); err == nil {
			t.Error("it goes on after its context")
		}
		o.saw(t) // one that was interrupted says nothing about the list
		if _, _, err := o.Job("bass"); err == nil || !strings.Contains(err.Error(), `there is no list "bass"`) {
			t.Errorf("%v", err)
		}
	})
}
