package status

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests set.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func newTest(at time.Time) (*Recorder, *clock) {
	c := &clock{at}
	r := New(Options{Pulls: func() (int64, int64) { return 0, 0 }, Clients: func() bool { return true }})
	r.now = c.now
	return r, c
}

func statusOf(r *Recorder) Status {
	var s Status
	r.Fill(&s)
	return s
}
