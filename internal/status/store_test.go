package status

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/oci"
)

// memory is a Store that can fail.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
	err    error
	puts   int
}

func (m *memory) History() (map[string][]byte, error) { return m.snapshot(), nil }

func (m *memory) snapshot() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.values)
}

func (m *memory) PutHistory(values map[string][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	maps.Copy(m.values, values)
	m.puts++
	return nil
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func newMemory() *memory { return &memory{values: make(map[string][]byte)} }

// runWith runs a Recorder on a store until stop is called.
func runWith(t *testing.T, store Store, failed func(error)) (r *Recorder, stop func()) {
	t.Helper()
	r = New(Options{
		Pulls: func() (int64, int64) { return 0, 0 }, Clients: func() bool { return true }, Store: store, StoreFailed: failed,
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	return r, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// The history survives a stop without loss, and a kill but for the last minute.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		r, stop := runWith(t, store, nil)
		r.Note(Request{Via: oci.Hit, Bytes: 1})
		time.Sleep(saveEvery + time.Second)
		r.Note(Request{Via: oci.Fill, Bytes: 2})
		killed := store.snapshot()
		stop()

		r, stop = runWith(t, store, nil)
		defer stop()
		s := statusOf(r)
		if want := (Traffic{Requests: 2, Hits: 1, Bytes: 3}); s.Today != want || s.Month != want || s.Start != (Traffic{}) {
			t.Errorf("after a stop: %+v", s)
		}
		r.Note(Request{Via: oci.Hit})
		if h := r.History(); len(h.Days) != 1 || h.Days[0].Requests != 3 || len(h.Minutes) != 2 || h.Minutes[1].Requests != 2 {
			t.Errorf("%+v", h)
		}
		after, stop := runWith(t, &memory{values: killed}, nil)
		defer stop()
		if s := statusOf(after); s.Today.Requests != 1 {
			t.Errorf("after a kill: %+v", s.Today)
		}
	})
}

// Idle minutes write nothing, and busy ones no more than two records.
func TestWritesLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		r, stop := runWith(t, store, nil)
		time.Sleep(time.Second)
		for range 3 {
			r.Note(Request{})
			time.Sleep(saveEvery)
		}
		time.Sleep(10 * saveEvery)
		stop()
		if store.puts != 3 || len(store.values) != 4 {
			t.Errorf("%d writes of %d records", store.puts, len(store.values))
		}
	})
}

// What cannot be written is written later, and reported once.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		store.fail(errors.New("full"))
		var reports []error
		r, stop := runWith(t, store, func(err error) { reports = append(reports, err) })
		r.Note(Request{})
		time.Sleep(3 * saveEvery)
		r.Note(Request{})
		time.Sleep(3 * saveEvery)
		store.fail(nil)
		stop()
		if len(reports) != 1 {
			t.Errorf("reported %v", reports)
		}
		again, stop := runWith(t, store, nil)
		defer stop()
		if diff := cmp.Diff(r.History(), again.History()); diff != "" || again.History().Days[0].Requests != 2 {
			t.Error(diff)
		}
	})
}

// Damaged records, those of a newer mirror and those in a wrong place are skipped.
func TestDamagedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		r, stop := runWith(t, store, nil)
		r.Note(Request{})
		stop()
		var name string
		for n := range store.values {
			if strings.HasPrefix(n, "d") {
				name = n
			}
		}
		good := string(store.values[name])
		for _, value := range []string{"", "{", "null", "[]", `{"number": 5}`, strings.Replace(good, `"requests":1`, `"requests":-1`, 1), strings.Replace(good, "1", "1e300", 1)} {
			store.values[name] = []byte(value)
			store.values["x"], store.values["d999"] = []byte(good), []byte(good)
			store.values["d000"] = fmt.Appendf(nil, `{"number": %d, "requests": 9}`, dayNumber(time.Now())-5) // its place is another one
			r, stop := runWith(t, store, nil)
			if n, days := statusOf(r).Today.Requests, len(r.History().Days); n != 0 || days != 1 {
				t.Errorf("%q counts %d requests in %d days", value, n, days)
			}
			stop()
		}
		store.values[name] = []byte(strings.Replace(good, "{", `{"new": true, `, 1))
		r, stop = runWith(t, store, nil)
		defer stop()
		if n := statusOf(r).Today.Requests; n != 1 {
			t.Errorf("with a new field: %d requests", n)
		}
	})
}
