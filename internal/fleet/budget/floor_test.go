package budget_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// Mirrors that pull as fast as they can together spend no pull of the reserve on newer
// versions, all others, and the reserve on what was never pulled; the upstream never has to
// refuse one.
func TestFloor(t *testing.T) {
	for _, mirrors := range []int{1, 2, 8} {
		synctest.Test(t, func(t *testing.T) {
			const limit = 200
			h := &hub{limit: limit, window: 6 * time.Hour}
			nodes := startAll(t, mirrors, h, memory())
			if err := nodes[0].send(t.Context(), "HEAD"); err != nil {
				t.Fatal(err)
			}
			pullAll(t, nodes, 4, (*node).refresh, 3*time.Minute)
			if counted, refused := h.counted(); counted != limit-reserved || refused > 0 {
				t.Errorf("%d mirrors: %d newer versions were pulled, %d refused; want %d and none", mirrors, counted, refused, limit-reserved)
			}
			pullAll(t, nodes, 4, (*node).pull, 30*time.Second)
			if counted, refused := h.counted(); counted != limit || refused > 0 {
				t.Errorf("%d mirrors: %d were pulled, %d refused; want %d and none", mirrors, counted, refused, limit)
			}
			for i, n := range nodes {
				if _, puts := n.bucket.counts(); puts > limit {
					t.Errorf("%d mirrors: number %d has written the budget %d times", mirrors, i, puts)
				}
			}
		})
	}
}

// Others pull with the same login, or from behind the same address: what the upstream reports
// is divided, not what the mirrors remember.
func TestOutsiders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, outside = 200, 100
		h := &hub{limit: limit, window: 6 * time.Hour}
		nodes := startAll(t, 4, h, memory())
		if err := nodes[0].pull(t); err != nil {
			t.Fatal(err)
		}
		<-time.After(5 * time.Second)
		h.set(func(h *hub) { h.pulls += outside })
		pullAll(t, nodes, 4, (*node).refresh, time.Minute)
		if counted, refused := h.counted(); counted != limit-outside-reserved || refused > 0 {
			t.Errorf("%d were pulled, %d refused; want %d and none", counted, refused, limit-outside-reserved)
		}
	})
}

// The pulls of a mirror that has ended are free again after a minute.
func TestDeadMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1000
		h := &hub{limit: limit, window: 6 * time.Hour}
		nodes := startAll(t, 2, h, memory())
		for range 2 { // the first one learns the limit
			if err := nodes[0].pull(t); err != nil {
				t.Fatal(err)
			}
			<-time.After(3 * time.Second)
		}
		pullAll(t, nodes[1:], 4, (*node).refresh, 2*time.Minute)
		if counted, refused := h.counted(); counted != limit-reserved || refused > 0 {
			t.Errorf("%d were pulled, %d refused; want %d and none", counted, refused, limit-reserved)
		}
	})
}

// A new window is used as soon as a response tells of it, or at its end, again down to the
// reserve.
func TestWindow(t *testing.T) {
	for _, told := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) { testWindow(t, told) })
	}
}

func testWindow(t *testing.T, told bool) {
	const limit = 100
	h := &hub{limit: limit, window: time.Hour}
	nodes := startAll(t, 4, h, memory())
	pullAll(t, nodes, 2, (*node).refresh, time.Minute)
	counted, refused := h.counted()
	if counted != limit-reserved || refused > 0 {
		t.Fatalf("%d were pulled, %d refused", counted, refused)
	}
	<-time.After(time.Hour)
	if told {
		if err := nodes[3].send(t.Context(), "HEAD"); err != nil {
			t.Fatal(err)
		}
	} else {
		<-time.After(time.Minute) // the window is an hour from the last response
	}
	pullAll(t, nodes, 2, (*node).refresh, time.Minute)
	if counted, refused := h.counted(); counted != 2*(limit-reserved) || refused > 0 {
		t.Errorf("%d were pulled in two windows, %d refused; want %d and none", counted, refused, 2*(limit-reserved))
	}
}

// A window of which no response tells is tried once a minute by one of the mirrors.
func TestWindowWithoutReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 40
		h := &hub{limit: limit, window: time.Hour}
		nodes := startAll(t, 4, h, memory())
		pullAll(t, nodes, 2, (*node).pull, 10*time.Second)
		if counted, refused := h.counted(); counted != limit || refused > 0 {
			t.Fatalf("%d were pulled, %d refused", counted, refused)
		}
		pullEach(t, nodes, 2, (*node).pull, 40*time.Minute, time.Second)
		if counted, refused := h.counted(); counted != limit || refused < 30 || refused > 42 {
			t.Errorf("%d were pulled, %d refused in 40 minutes", counted, refused)
		}
		pullEach(t, nodes, 2, (*node).pull, 21*time.Minute, time.Second)
		if counted, _ := h.counted(); counted != 2*limit {
			t.Errorf("%d were pulled in two windows, want %d", counted, 2*limit)
		}
	})
}
