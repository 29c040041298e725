package buckettest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket"
)

func TestMemory(t *testing.T) {
	Run(t, Options{New: func(*testing.T) bucket.Bucket { return NewMemory() }, PartSize: 1000, Virtual: true})
}

var errFault = errors.New("fault")

// TestFaults finds that each fault does what it says.
func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault   Fault
		want    error
		applied bool
	}{
		"none":                          {Fault{Before: time.Second, After: time.Second}, nil, true},
		"failed":                        {Fault{Err: errFault}, errFault, false},
		"failed but applied":            {Fault{Err: errFault, Applied: true}, errFault, true},
		"slow":                          {Fault{Before: time.Minute}, context.DeadlineExceeded, false},
		"slow response":                 {Fault{After: time.Minute}, context.DeadlineExceeded, true},
		"applied after the caller left": {Fault{Before: time.Minute, Applied: true}, context.DeadlineExceeded, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory()
				m.Faults = func(op Op, _ string) Fault {
					if op == Put {
						return test.fault
					}
					return Fault{}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				_, err := m.Put(ctx, "key", []byte("data"), bucket.Cond{})
				if !errors.Is(err, test.want) {
					t.Errorf("put: %v, want %v", err, test.want)
				}
				_, err = m.Get(t.Context(), "key", 0, "")
				if applied := err == nil; applied != test.applied {
					t.Errorf("get: %v, want it applied: %v", err, test.applied)
				}
			})
		})
	}
}
