package doctor

import (
	"context"
	"fmt"
	"time"
)

// diskTimeout is how long the disk is waited for.
const diskTimeout = 10 * time.Second

// ErrDiskHangs says that the disk did not answer in time.
var ErrDiskHangs = fmt.Errorf("it did not answer within %s", diskTimeout)

// Disk is one that may hang: what the kernel holds cannot be cut short. NewDisk makes one.
type Disk struct {
	busy chan struct{} // holds one while something uses it
}

// NewDisk returns a Disk that nothing uses. All checks of one process share it.
func NewDisk() *Disk { return &Disk{busy: make(chan struct{}, 1)} }

// Use returns what f returns, which uses the disk. It fails with ErrDiskHangs when f takes
// longer than ten seconds, and when ctx ends; f then goes on alone, and no other f begins
// before it returns, so that a disk that hangs holds one goroutine. It may be called
// concurrently.
func Use[T any](ctx context.Context, d *Disk, f func() T) (result T, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, diskTimeout, ErrDiskHangs)
	defer cancel()
	select {
	case d.busy <- struct{}{}:
	case <-ctx.Done():
		return result, context.Cause(ctx)
	}
	done := make(chan T, 1)
	go func() {
		defer func() { <-d.busy }()
		done <- f()
	}()
	select {
	case result = <-done:
		return result, nil
	case <-ctx.Done():
		return result, context.Cause(ctx)
	}
}
