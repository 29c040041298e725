package ratelimit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
)

// An ordinary pull passes at once; what comes after it waits for its turn, and is
// refused when that is too far off. This does not affect others.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(10, NewInFlight(0))
		begun := time.Now()
		for range paceBurst {
			if err := p.Enter(from("192.0.2.1")); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("the burst waited %s", waited)
		}
		if err := p.Enter(from("192.0.2.1")); err != nil || time.Since(begun) != 100*time.Millisecond {
			t.Errorf("the next one: %v after %s", err, time.Since(begun))
		}

		waiting := make(chan error)
		for range 60 { // 50 of them have their turn within five seconds
			go func() { waiting <- p.Enter(from("192.0.2.1")) }()
		}
		admitted := 0
		for range 60 {
			var limit *oci.LimitError
			switch err := <-waiting; {
			case err == nil:
				admitted++
			case !errors.As(err, &limit) || limit.Kind != oci.LimitRate || !limit.RetryAt.After(time.Now()):
				t.Errorf("refused with %#v", err)
			}
		}
		if admitted != 50 {
			t.Errorf("%d of 60 were admitted, want 50", admitted)
		}
		if waited := time.Since(begun); waited != 5100*time.Millisecond {
			t.Errorf("they took %s", waited)
		}
		now := time.Now()
		if err := p.Enter(from("192.0.2.2")); err != nil || time.Since(now) != 0 {
			t.Errorf("another client: %v after %s", err, time.Since(now))
		}
	})
}

// A request that waits is in flight, and is no more when it is refused or its client
// has left; the turn of one that has left is the next one's.
func TestPaceLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewInFlight(1000)
		p := NewPace(1, f)
		ctx, leave := context.WithCancelCause(from("192.0.2.1"))
		for range paceBurst {
			if err := p.Enter(ctx); err != nil {
				t.Fatal(err)
			}
			p.Leave(ctx)
		}
		left := make(chan error)
		go func() { left <- p.Enter(ctx) }()
		synctest.Wait()
		if len(f.requests.of) != 1 {
			t.Error("a request that waits is not in flight")
		}
		gone := errors.New("gone")
		leave(gone)
		if err := <-left; !errors.Is(err, gone) {
			t.Errorf("the client has left: %v", err)
		}
		begun := time.Now()
		if err := p.Enter(from("192.0.2.1")); err != nil || time.Since(begun) != time.Second {
			t.Errorf("the next one: %v after %s", err, time.Since(begun))
		}
		p.Leave(ctx)
		if len(f.requests.of) != 0 {
			t.Errorf("%d clients have requests in flight", len(f.requests.of))
		}
	})
}

func TestPaceWithoutLimit(t *testing.T) {
	p := NewPace(0, NewInFlight(0))
	for range 10 * paceBurst {
		if err := p.Enter(from("192.0.2.1")); err != nil {
			t.Fatal(err)
		}
	}
}
