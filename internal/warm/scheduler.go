package warm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"mirrord/internal/oci"
)

// Hooks are told what the Scheduler does. Each may be nil, and may be called concurrently.
type Hooks struct {
	Ended   func(list string, c Completed)
	Skipped func(list string, next time.Time) // the run before was not over
}

// lookEvery bounds how long the Scheduler sleeps: timers do not notice that the clock was
// set, or that the host slept.
const lookEvery = time.Minute

// retryAfter is how soon at the earliest a list is warmed again that waits for a limit: a
// limit may go on when it should be over.
const retryAfter = 10 * time.Minute

// Scheduler warms lists when they are due, one at a time. Its methods may be called
// concurrently.
type Scheduler struct {
	warmer  *Warmer
	hooks   Hooks
	changed chan struct{} // holds one when the lists have changed
	waiting chan struct{} // holds one when queue is not empty

	// mu guards all below. No I/O or hook call happens under it.
	mu     sync.Mutex
	lists  []*entry // in the order of the configuration
	queue  []*entry // due, and waiting for their turn
	looked time.Time
}

// entry is a list and what is known of it.
type entry struct {
	Scheduled
	next  time.Time // by the schedule; zero: never
	retry time.Time // when a limit is over for which the last run waits; zero: none
	busy  bool      // queued or running

	last    *Completed
	success time.Time
	runs    map[RunOutcome]int64
}

// NewScheduler returns a Scheduler without lists. It starts nothing: Run works for it.
func NewScheduler(w *Warmer, h Hooks) *Scheduler {
	return &Scheduler{warmer: w, hooks: h, changed: make(chan struct{}, 1), waiting: make(chan struct{}, 1)}
}

// Set replaces the lists, which have unique names. What is known of a list that stays is
// remembered, also if it is changed. A run in progress is not ended.
func (s *Scheduler) Set(lists []Scheduled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := make(map[string]*entry)
	for _, e := range s.lists {
		old[e.Name] = e
	}
	s.lists = nil
	now := wallClock()
	for _, l := range lists {
		e := old[l.Name]
		if e == nil {
			e = &entry{runs: make(map[RunOutcome]int64)}
		}
		if !reflect.DeepEqual(e.Scheduled, l) {
			e.Scheduled, e.next, e.retry = l, l.Schedule.Next(now), time.Time{}
		}
		s.lists = append(s.lists, e)
	}
	s.queue = slices.DeleteFunc(s.queue, func(e *entry) bool { return !slices.Contains(s.lists, e) })
	signal(s.changed)
}

// signal makes c hold one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wallClock returns the time that the clock shows: between two of them the time that the
// host slept is counted, and the clock may have been set.
func wallClock() time.Time { return time.Now().Round(0) }

// Run warms what is due until ctx ends, and then waits for what is being warmed. A list
// that was due while the mirror did not run waits for its next time.
func (s *Scheduler) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { s.work(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.changed:
		}
		timer.Reset(s.look(wallClock()))
	}
}

// look queues what is due at the time now, and returns how long nothing else will be.
func (s *Scheduler) look(now time.Time) time.Duration {
	var skipped []ListStatus
	s.mu.Lock()
	wait, back := lookEvery, s.looked.Sub(now) > lookEvery
	s.looked = now
	for _, e := range s.lists {
		if back {
			e.next = e.Schedule.Next(now)
		}
		if at := e.due(); !at.IsZero() && !at.After(now) {
			if !s.enqueue(e, now) {
				skipped = append(skipped, ListStatus{Name: e.Name, Next: e.next})
			}
		}
		if at := e.due(); !at.IsZero() {
			wait = min(wait, at.Sub(now))
		}
	}
	s.mu.Unlock()
	for _, l := range skipped {
		if s.hooks.Skipped != nil {
			s.hooks.Skipped(l.Name, l.Next)
		}
	}
	return wait
}

// enqueue queues e, which is due, unless the mirror is offline. It returns false when e is
// queued or running already. s.mu is held.
func (s *Scheduler) enqueue(e *entry, now time.Time) bool {
	e.retry = time.Time{}
	if !e.next.After(now) {
		e.next = e.Schedule.Next(now)
	}
	switch {
	case s.warmer.opts.Offline():
	case e.busy:
		e.runs[RunSkipped]++
		return false
	default:
		e.busy = true
		s.queue = append(s.queue, e)
		signal(s.waiting)
	}
	return true
}

// due returns when e is warmed next, zero when never.
func (e *entry) due() time.Time {
	if !e.retry.IsZero() && (e.next.IsZero() || e.retry.Before(e.next)) {
		return e.retry
	}
	return e.next
}

// work warms what is queued, until ctx ends.
func (s *Scheduler) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.waiting:
		}
		for e := s.dequeue(); e != nil && ctx.Err() == nil; e = s.dequeue() {
			_, _ = s.warm(ctx, e, Report{}, s.warmer.RunInTurn) // what becomes of it is told to the hooks
		}
	}
}

// dequeue returns the first of the queue, nil when it is empty.
func (s *Scheduler) dequeue() *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	e := s.queue[0]
	s.queue = s.queue[1:]
	return e
}

// warm warms what the list e, which is busy, names now.
func (s *Scheduler) warm(ctx context.Context, e *entry, report Report, run func(context.Context, Job, Report) (Summary, error)) (Summary, error) {
	s.mu.Lock()
	list := e.Scheduled
	s.mu.Unlock()
	c := Completed{Began: wallClock()}
	job, skipped, err := list.Job()
	c.Skipped = skipped[:min(len(skipped), maxFailures)]
	if err == nil {
		next := report.Result
		report.Result = func(r Result) {
			if r.Outcome == Failed && len(c.Failures) < maxFailures {
				c.Failures = append(c.Failures, r)
			}
			if next != nil {
				next(r)
			}
		}
		c.Summary, err = run(ctx, job, report)
	}
	c.Ended = wallClock()
	c.conclude(err)
	if s.end(ctx, e, c, err) && s.hooks.Ended != nil {
		s.hooks.Ended(list.Name, c)
	}
	return c.Summary, err
}

// end remembers the run c of e, unless it was interrupted or did not begin.
func (s *Scheduler) end(ctx context.Context, e *entry, c Completed, err error) (told bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.busy = false
	if ctx.Err() != nil || errors.Is(err, ErrBusy) || errors.Is(err, oci.ErrOffline) {
		return false
	}
	e.last, e.retry = &c, time.Time{}
	e.runs[c.Outcome]++
	if c.Outcome == RunDone {
		e.success = c.Ended
	}
	if at := c.Summary.RetryAt; at != nil {
		e.retry = c.Ended.Add(max(at.Sub(c.Ended), retryAfter))
	}
	signal(s.changed)
	return true
}

// find returns the list of that name.
func (s *Scheduler) find(name string) (*entry, error) {
	for _, e := range s.lists {
		if e.Name == name {
			return e, nil
		}
	}
	return nil, fmt.Errorf("there is no list %.80q in warm.lists of the mirror's configuration; mirrord warm --lists shows them", name)
}

// Job returns what the list of that name names now, and what in its file names no image.
func (s *Scheduler) Job(name string) (Job, []Skipped, error) {
	s.mu.Lock()
	e, err := s.find(name)
	var list Scheduled
	if err == nil {
		list = e.Scheduled
	}
	s.mu.Unlock()
	if err != nil {
		return Job{}, nil, err
	}
	return list.Job()
}

// RunNow warms a list as when it is due, while the caller waits. It fails as Warmer.Run
// does, with ErrBusy also while the list waits for its turn.
func (s *Scheduler) RunNow(ctx context.Context, name string, report Report) (Summary, error) {
	s.mu.Lock()
	e, err := s.find(name)
	switch {
	case err != nil:
	case e.busy:
		err = ErrBusy
	default:
		e.busy = true
	}
	s.mu.Unlock()
	if err != nil {
		return Summary{}, err
	}
	return s.warm(ctx, e, report, s.warmer.Run)
}

// Status returns the state of each list, in the order of the configuration.
func (s *Scheduler) Status() []ListStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, offline := []ListStatus{}, s.warmer.opts.Offline()
	for _, e := range s.lists {
		l := ListStatus{
			Name: e.Name, File: e.File, Schedule: e.Schedule.String(), TimeZone: e.Schedule.Zone(),
			Running: e.busy, Last: e.last, LastSuccess: e.success, Runs: maps.Clone(e.runs),
		}
		if !offline {
			l.Next = e.due()
		}
		all = append(all, l)
	}
	return all
}
