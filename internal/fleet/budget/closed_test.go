package budget_test

import (
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
)

// closedFleet returns mirrors that have pulled a few times.
func closedFleet(t *testing.T, count int, h *hub) []*node {
	t.Helper()
	nodes := startAll(t, count, h, memory())
	pullEach(t, nodes, 1, (*node).pull, 5*time.Second, 500*time.Millisecond)
	return nodes
}

// All mirrors stop within three seconds of a refusal that one of them has met, also of an
// upstream that tells nothing of its limit. When its time is over one pull tests the limit,
// and then another after each refusal; once it is accepted all go on.
func TestRefusalStopsAll(t *testing.T) {
	for name, silent := range map[string]bool{"limit reported": false, "limit unknown": true} {
		synctest.Test(t, func(t *testing.T) {
			h := &hub{limit: 10_000, window: 6 * time.Hour, silent: silent}
			nodes := closedFleet(t, 6, h)
			h.set(func(h *hub) { h.down = true })
			began := time.Now()
			limited(t, nodes[0].pull(t), oci.LimitPulls)
			pullAll(t, nodes[1:], 1, (*node).pull, 59*time.Second)
			if n := h.since(began.Add(3 * time.Second)); n > 0 {
				t.Errorf("%s: %d pulls were sent later than three seconds after the refusal", name, n)
			}
			for _, n := range nodes {
				limit := limited(t, n.pull(t), oci.LimitPulls)
				if wait := time.Until(limit.RetryAt); wait <= 0 || wait > time.Minute {
					t.Errorf("%s: the next try is in %s", name, wait)
				}
			}
			again := time.Now()
			pullAll(t, nodes, 2, (*node).pull, 55*time.Second) // one minute after each refusal
			if n := h.since(again); n != 1 {
				t.Errorf("%s: %d pulls have tested the limit, want 1", name, n)
			}
			h.set(func(h *hub) { h.down = false })
			pullAll(t, nodes, 1, (*node).pull, 20*time.Second)
			for i, n := range nodes {
				if err := n.pull(t); err != nil {
					t.Errorf("%s: mirror %d: %v", name, i, err)
				}
			}
		})
	}
}

// A mirror that was to test the limit and did not leaves it to another one.
func TestTesterEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{limit: 10_000, window: 6 * time.Hour}
		nodes := closedFleet(t, 3, h)
		h.set(func(h *hub) { h.down = true })
		limited(t, nodes[0].pull(t), oci.LimitPulls)
		<-time.After(61 * time.Second)
		h.set(func(h *hub) { h.down = false })
		nodes[1].lost.Store(1)
		if err := nodes[1].pull(t); err == nil {
			t.Error("a pull without a response succeeds")
		}
		nodes[1].lost.Store(0)
		limited(t, nodes[2].pull(t), oci.LimitPulls)
		<-time.After(16 * time.Second)
		for _, n := range nodes {
			if err := n.pull(t); err != nil {
				t.Error(err)
			}
			<-time.After(time.Second) // the others are told
		}
	})
}

// The abuse limiter counts addresses: it closes the account of an address, and not that of a
// login, which is used at other addresses, too.
func TestAbuseLimit(t *testing.T) {
	for _, user := range []string{"", "office"} {
		synctest.Test(t, func(t *testing.T) {
			h := &hub{limit: 10_000, window: 6 * time.Hour, source: "192.0.2.7"}
			b := memory()
			nodes := []*node{start(t, h, b, user), start(t, h, b, user)}
			pullEach(t, nodes, 1, (*node).pull, 5*time.Second, 500*time.Millisecond)
			h.set(func(h *hub) { h.down, h.abuse = true, true })
			limited(t, nodes[0].pull(t), oci.LimitRequests)
			h.set(func(h *hub) { h.down = false })
			<-time.After(2 * time.Second)
			err := nodes[1].pull(t)
			if user != "" {
				if err != nil {
					t.Errorf("%s: %v", user, err)
				}
				return
			}
			limited(t, err, oci.LimitRequests)
			limited(t, nodes[1].send(t.Context(), "HEAD"), oci.LimitRequests)
			<-time.After(time.Minute)
			if err := nodes[1].pull(t); err != nil {
				t.Error(err)
			}
		})
	}
}
