package warm

import (
	"errors"
	"fmt"
	"os"
	"time"

	"mirrord/internal/schedule"
)

// Scheduled is a list that is warmed by a schedule.
type Scheduled struct {
	Name      string
	File      string   // that is read at each run; empty: Images
	Images    []Image  // of a list without a file
	Platforms []string // as in Job
	MaxPulls  int      // of one run; 0: no limit but those of the upstreams
	Schedule  schedule.Schedule
}

// Job returns what the list names now, and what in its file names no image. It fails with
// the file and line of what is wrong.
func (l Scheduled) Job() (Job, []Skipped, error) {
	job := Job{Images: l.Images, Platforms: l.Platforms, MaxPulls: l.MaxPulls}
	if l.File == "" {
		return job, nil, job.Check()
	}
	list, err := ReadFile(l.File)
	if err == nil && len(list.Images) == 0 {
		err = fmt.Errorf("%s names no image that can be warmed: %s: %s", l.File, list.Skipped[0].Where, list.Skipped[0].Why)
	}
	if err != nil {
		return Job{}, nil, err
	}
	job.Images = list.Images
	return job, list.Skipped, job.Check()
}

// ReadFile is ReadList of a file.
func ReadFile(path string) (List, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() { // reading a pipe may take forever
		err = fmt.Errorf("%s is not a regular file; name a text file with one image a line", path)
	}
	if err != nil {
		return List{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return List{}, err
	}
	list, err := ReadList(path, f)
	return list, errors.Join(err, f.Close())
}

// RunOutcome is what became of a run of a list. There are no others than these, so it
// serves as a metric's label.
type RunOutcome string

const (
	RunDone    RunOutcome = "done"    // all images are cached
	RunWaiting RunOutcome = "waiting" // none failed, but some wait for a pull limit, or for the next run because MaxPulls are spent
	RunFailed  RunOutcome = "failed"  // the list cannot be read, or some images failed
	RunSkipped RunOutcome = "skipped" // the run before it was not over
)

// RunOutcomes are all of them.
var RunOutcomes = []RunOutcome{RunDone, RunWaiting, RunFailed, RunSkipped}

// maxFailures bounds the failures that a Completed names.
const maxFailures = 10

// Completed is a run that is over, but for one that was interrupted.
type Completed struct {
	Began    time.Time  `json:"began"`
	Ended    time.Time  `json:"ended"`
	Outcome  RunOutcome `json:"outcome"`
	Error    string     `json:"error,omitempty"` // why nothing could be warmed
	Summary  Summary    `json:"summary"`
	Failures []Result   `json:"failures,omitempty"` // the first ten
	Skipped  []Skipped  `json:"skipped,omitempty"`  // what in the file names no image, the first ten
}

// conclude fills in the outcome.
func (c *Completed) conclude(err error) {
	switch {
	case err != nil:
		c.Outcome, c.Error = RunFailed, err.Error()
	case c.Summary.Failed > 0:
		c.Outcome = RunFailed
	case c.Summary.Warmed+c.Summary.Cached < c.Summary.Images:
		c.Outcome = RunWaiting
	default:
		c.Outcome = RunDone
	}
}

// ListStatus is the state of a scheduled list. Times are zero when there is none.
type ListStatus struct {
	Name     string `json:"name"`
	File     string `json:"file,omitempty"`
	Schedule string `json:"schedule"`
	TimeZone string `json:"time_zone"`

	Running     bool                 `json:"running,omitempty"` // or waiting for its turn
	Last        *Completed           `json:"last,omitempty"`    // since the mirror started
	LastSuccess time.Time            `json:"last_success,omitzero"`
	Next        time.Time            `json:"next,omitzero"` // of the schedule, or when a limit is over for which the last run waits; none while the mirror is offline
	Runs        map[RunOutcome]int64 `json:"runs,omitempty"`
}
