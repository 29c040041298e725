package retention_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci/ocitest"
	"mirrord/internal/retention"
	"mirrord/test/cachetest"
)

func budget(n int64) func(*cachetest.Options) {
	return func(o *cachetest.Options) { o.Cache.Limits.MaxSize = n }
}

// What is pinned outlives all that is pulled, also after a restart; what is unpinned is
// evicted as the rest.
func TestPinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 200_000, budget(300_000))
		layer := ocitest.Content(100_000, 1)
		m.image(t, "pinned", layer)
		m.pull(t, "pinned")
		if pins, err := m.Pin(t.Context(), pattern(t, "pinned")); err != nil || len(pins) != 1 || !pins[0].Cached || pins[0].Short != 0 {
			t.Fatalf("%+v, %v", pins, err)
		}
		flood := func(seed byte) {
			t.Helper()
			for i := range byte(4) {
				m.image(t, "other", ocitest.Content(90_000, seed+i))
				<-time.After(2 * time.Minute)
				m.pull(t, "other")
			}
		}
		flood(10)
		m.Stop()
		m.Restart(t, budget(300_000))
		m.reopen(t, 200_000)
		flood(20)
		if !m.cached(layer) || m.Stats().Pinned < 100_000 {
			t.Errorf("a pinned layer was evicted; %+v", m.Stats())
		}
		if _, err := m.Unpin(t.Context(), pattern(t, "pinned")); err != nil {
			t.Fatal(err)
		}
		flood(30)
		if m.cached(layer) || m.Stats().Pinned != 0 || len(m.index) != 0 {
			t.Errorf("a layer that was unpinned stays; %+v", m.Stats())
		}
	})
}

// Pins that do not fit are refused, and change nothing: the error says by how much.
func TestPinTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 150_000)
		for i, tag := range []string{"one", "two"} {
			m.image(t, tag, ocitest.Content(100_000, byte(i)))
			m.pull(t, tag)
		}
		if _, err := m.Pin(t.Context(), pattern(t, "*")); !errors.Is(err, retention.ErrTooLarge) || len(m.Pins()) != 0 || len(m.index) != 0 {
			t.Errorf("%v, %+v", err, m.Pins())
		}
		if _, err := m.Pin(t.Context(), pattern(t, "one")); err != nil {
			t.Error(err)
		}
		_, err := m.Pin(t.Context(), pattern(t, "two"))
		if !errors.Is(err, retention.ErrTooLarge) || !strings.Contains(err.Error(), "KiB too many") || !strings.Contains(err.Error(), "raise cache.max_pinned") {
			t.Error(err)
		}
		if _, err := m.Pin(t.Context(), pattern(t, "none*")); !errors.Is(err, retention.ErrNoMatch) {
			t.Error(err)
		}
	})
}

// A pin follows its tag. What no longer fits is reported once and not pinned, and is
// pinned again when the limit is raised.
func TestPinFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 150_000)
		if _, err := m.Pin(t.Context(), pattern(t, "app")); err != nil { // before it is cached
			t.Fatal(err)
		}
		move := func(size int, seed byte) {
			t.Helper()
			m.image(t, "app", ocitest.Content(size, seed))
			<-time.After(2 * time.Minute)
			m.pull(t, "app")
			m.Apply(t.Context())
		}
		move(60_000, 1)
		if n := m.Stats().Pinned; n < 60_000 || n > 61_000 {
			t.Errorf("%d bytes are pinned, want those of the image", n)
		}
		move(90_000, 2)
		if n := m.Stats().Pinned; n < 90_000 || n > 91_000 {
			t.Errorf("%d bytes are pinned, want those of what the tag names now", n)
		}
		move(200_000, 3)
		m.Apply(t.Context())
		if n := m.Stats().Pinned; n != 0 || len(m.tooLarge) != 1 || m.Pins()[0].Short < 50_000 {
			t.Errorf("%d bytes are pinned, %v reported, %+v", n, m.tooLarge, m.Pins())
		}
		m.SetMax(300_000)
		m.Apply(t.Context())
		if n := m.Stats().Pinned; n < 200_000 || m.Pins()[0].Short != 0 {
			t.Errorf("%d bytes are pinned, %+v", n, m.Pins())
		}
	})
}

// A pin that does not fit takes none of its space from those that do.
func TestPinBesideTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 150_000)
		if _, err := m.Pin(t.Context(), append(pattern(t, "large"), pattern(t, "small")...)); err != nil {
			t.Fatal(err)
		}
		m.image(t, "large", ocitest.Content(200_000, 1))
		m.image(t, "small", ocitest.Content(50_000, 2))
		m.pull(t, "large")
		m.pull(t, "small")
		m.Apply(t.Context())
		pins := m.Pins()
		if len(pins) != 2 || pins[0].Ref.Tag() != "large" || pins[0].Short == 0 || pins[1].Short != 0 || m.Stats().Pinned < 50_000 || len(m.tooLarge) != 1 {
			t.Errorf("%+v, reported %v", pins, m.tooLarge)
		}
	})
}

// A client that goes away when its pin is written leaves memory and index of one mind.
func TestPinClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 150_000)
		m.image(t, "app", ocitest.Content(50_000, 1))
		m.pull(t, "app")
		for _, change := range []func(context.Context, []retention.Pattern) ([]retention.PinState, error){
			func(ctx context.Context, p []retention.Pattern) ([]retention.PinState, error) { return m.Pin(ctx, p) },
			func(ctx context.Context, p []retention.Pattern) ([]retention.PinState, error) { return m.Unpin(ctx, p) },
		} {
			ctx, leave := context.WithCancel(t.Context())
			opened := false
			m.open(t, leaving{m.index, func() {
				if opened { // which writes what it finds out, too
					leave()
				}
			}}, 150_000)
			opened = true
			if _, err := change(ctx, pattern(t, "app")); err != nil || ctx.Err() == nil {
				t.Fatal(err)
			}
			if len(m.Pins()) != len(m.index) || (m.Stats().Pinned > 0) != (len(m.index) > 0) {
				t.Errorf("%+v and %d bytes are pinned, and the index has %v", m.Pins(), m.Stats().Pinned, m.index)
			}
		}
		ended, leave := context.WithCancel(t.Context())
		leave()
		if _, err := m.Pin(ended, pattern(t, "app")); !errors.Is(err, context.Canceled) || len(m.index) != 0 {
			t.Errorf("%v, and the index has %v", err, m.index)
		}
	})
}
