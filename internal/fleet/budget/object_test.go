package budget_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/oci"
)

// object returns the only object of a bucket.
func object(t *testing.T, b bucket.Bucket) (info bucket.Info, raw []byte) {
	t.Helper()
	for found, err := range b.List(t.Context(), "") {
		if err != nil || info.Key != "" {
			t.Fatalf("%v, or a second object: %s", err, found.Key)
		}
		info = found
	}
	o, err := b.Get(t.Context(), info.Key, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	raw, err = io.ReadAll(o.Body)
	if err != nil {
		t.Fatal(err)
	}
	return info, raw
}

func put(t *testing.T, b bucket.Bucket, key string, raw []byte) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, raw, bucket.Cond{}); err != nil {
		t.Fatal(err)
	}
}

// What somebody without the secret has written is as good as absent: it stops nobody, and is
// replaced. What a later version has written stays as it is.
func TestForeignObject(t *testing.T) {
	for name, test := range map[string]struct {
		change   func([]byte) []byte
		replaced bool
	}{
		"no JSON":         {func([]byte) []byte { return []byte("<Error/>") }, true},
		"empty":           {func([]byte) []byte { return nil }, true},
		"no pulls left":   {func(raw []byte) []byte { return bytes.Replace(raw, []byte(`"limit":200`), []byte(`"limit":1`), 1) }, true},
		"huge":            {func([]byte) []byte { return bytes.Repeat([]byte("["), 10<<20) }, true},
		"a later version": {func(raw []byte) []byte { return bytes.Replace(raw, []byte(`"v":1`), []byte(`"v":2`), 1) }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := &hub{limit: 200, window: 6 * time.Hour}
			b := memory()
			nodes := startAll(t, 2, h, b)
			pullEach(t, nodes, 1, (*node).pull, 5*time.Second, time.Second)
			<-time.After(5 * time.Second)
			info, raw := object(t, b)
			wrong := test.change(bytes.Clone(raw))
			if name != "empty" && bytes.Equal(raw, wrong) {
				t.Fatalf("%s: the object is what it was", name)
			}
			put(t, b, info.Key, wrong)
			pullEach(t, append(nodes, start(t, h, b, "office")), 1, (*node).pull, 5*time.Second, 100*time.Millisecond)
			if _, refused := h.counted(); refused > 0 {
				t.Errorf("%s: %d refused", name, refused)
			}
			<-time.After(5 * time.Second)
			if _, now := object(t, b); bytes.Equal(now, wrong) == test.replaced {
				t.Errorf("%s: replaced: %v, want %v", name, !test.replaced, test.replaced)
			}
			for _, n := range nodes {
				if s := n.ledger.Stats(); s.Pulls["refused"] > 0 {
					t.Errorf("%s: %+v", name, s)
				}
			}
		})
	}
}

// An object of before that somebody puts back again and again gives no pulls back, but for
// what the mirrors have in flight.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, mirrors, workers = 200, 3, 2
		h := &hub{limit: limit, window: 6 * time.Hour}
		b := memory()
		nodes := startAll(t, mirrors, h, b)
		pullEach(t, nodes, 1, (*node).pull, 3*time.Second, time.Second)
		info, old := object(t, b)
		end := time.Now().Add(time.Minute)
		go func() {
			for time.Now().Before(end) {
				put(t, b, info.Key, old)
				<-time.After(700 * time.Millisecond)
			}
		}()
		pullAll(t, nodes, workers, (*node).refresh, 2*time.Minute)
		if counted, refused := h.counted(); counted < limit-reserved || counted > limit-reserved+mirrors*workers || refused > 0 {
			t.Errorf("%d were pulled, %d refused; want %d, or few more, and none", counted, refused, limit-reserved)
		}
		put(t, b, info.Key, old)
		for _, n := range nodes {
			limited(t, n.send(oci.WithoutReserve(t.Context()), "GET"), oci.LimitReserve)
		}
	})
}

// The object that nobody has wanted for long is swept; who has known it writes it again.
func TestSweptObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 200
		h := &hub{limit: limit, window: 6 * time.Hour}
		b := memory()
		nodes := startAll(t, 3, h, b)
		pullEach(t, nodes, 1, (*node).pull, 3*time.Second, time.Second)
		info, _ := object(t, b)
		if err := b.Delete(t.Context(), info.Key); err != nil {
			t.Fatal(err)
		}
		pullAll(t, nodes, 2, (*node).refresh, 2*time.Minute)
		if counted, refused := h.counted(); counted != limit-reserved || refused > 0 {
			t.Errorf("%d were pulled, %d refused; want %d and none", counted, refused, limit-reserved)
		}
	})
}

// apart is a bucket on a store whose clock is not that of the mirror, and which tells the
// time to the second.
type apart struct {
	*store
	by time.Duration
}

func (a apart) there() time.Time { return time.Now().Add(a.by).Truncate(time.Second) }

func (a apart) Now() (time.Time, bool) { return a.there(), true }

// The clocks of mirrors and store may be an hour apart: windows, grants and refusals last as
// long as they should.
func TestWrongClock(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			const limit = 200
			h := &hub{limit: limit, window: 30 * time.Minute}
			b := apart{memory(), by}
			nodes := startAll(t, 3, h, b)
			pullAll(t, nodes, 2, (*node).refresh, time.Minute)
			if counted, refused := h.counted(); counted != limit-reserved || refused > 0 {
				t.Errorf("%s: %d were pulled, %d refused; want %d and none", by, counted, refused, limit-reserved)
			}
			var told struct{ Seen time.Time }
			info, raw := object(t, b)
			if err := secret(t).Open(info.Key, raw, &told); err != nil || b.there().Sub(told.Seen).Abs() > 2*time.Minute {
				t.Errorf("%s: %v, seen %s; the store has %s", by, err, told.Seen, b.there())
			}
			h.set(func(h *hub) { h.down = true })
			own := limited(t, nodes[0].pull(t), oci.LimitPulls)
			<-time.After(2 * time.Second)
			other := limited(t, nodes[1].pull(t), oci.LimitPulls)
			if ahead := other.RetryAt.Sub(own.RetryAt).Abs(); ahead > 2*time.Second {
				t.Errorf("%s: the mirrors try again %s apart", by, ahead)
			}
			if known := nodes[2].Budget(); time.Since(known.Observed) > 2*time.Minute || known.Observed.After(time.Now().Add(2*time.Second)) || !known.Shared {
				t.Errorf("%s: known: %+v", by, known)
			}
		})
	}
}

// Nothing is shared while it is not known who the upstream counts the pulls of: two mirrors
// behind different addresses have a budget each.
func TestAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory()
		unknown := start(t, &hub{limit: 10, window: time.Hour}, b, "")
		here := &hub{limit: 40, window: time.Hour, source: "192.0.2.7"}
		there := &hub{limit: 40, window: time.Hour, source: "192.0.2.8"}
		nodes := []*node{start(t, here, b, ""), start(t, there, b, "")}
		for range 5 {
			if err := unknown.pull(t); err != nil {
				t.Error(err)
			}
		}
		if gets, puts := unknown.bucket.counts(); gets+puts > 0 {
			t.Errorf("%d gets and %d puts for an unknown account", gets, puts)
		}
		pullAll(t, nodes, 2, (*node).refresh, time.Minute)
		for _, h := range []*hub{here, there} {
			if counted, refused := h.counted(); counted != 40-reserved || refused > 0 {
				t.Errorf("%s: %d were pulled, %d refused", h.source, counted, refused)
			}
		}
	})
}

// Only a pull costs requests to the bucket, and one with many left hardly any.
func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{limit: 10_000, window: 6 * time.Hour}
		n := start(t, h, memory(), "office")
		for range 100 {
			if err := n.send(t.Context(), "HEAD"); err != nil {
				t.Error(err)
			}
			n.Budget()
			<-time.After(time.Second)
		}
		if gets, puts := n.bucket.counts(); gets+puts > 0 {
			t.Errorf("%d gets and %d puts for HEADs", gets, puts)
		}
		for range 200 {
			if err := n.pull(t); err != nil {
				t.Error(err)
			}
		}
		<-time.After(5 * time.Second)
		if gets, puts := n.bucket.counts(); gets > 15 || puts > 10 { // ten seconds
			t.Errorf("%d gets and %d puts for 200 pulls", gets, puts)
		}
	})
}

// What others know decides which login is used, and whether a newer version is pulled.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{limit: 100, window: time.Hour}
		nodes := startAll(t, 2, h, memory())
		if err := nodes[1].pull(t); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			if err := nodes[0].pull(t); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(3 * time.Second)
		if b := nodes[1].Budget(); b.Remaining != 99 {
			t.Errorf("%d are left for a mirror that has not asked", b.Remaining)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := nodes[1].send(ctx, "GET"); err == nil {
			t.Error("a pull is sent for nobody")
		}
		if err := nodes[1].ledger.Take(t.Context(), "user office", true); err != nil {
			t.Fatal(err)
		}
		if b := nodes[1].Budget(); b.Remaining != 49 || b.Limit != 100 || b.Window != time.Hour || !b.Shared {
			t.Errorf("%+v, want 49 left", b)
		}
		<-time.After(time.Hour)
		if b := nodes[1].Budget(); b.Known() {
			t.Errorf("%+v after the end of the window", b)
		}
	})
}
