package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mirrord/internal/notify"
	"mirrord/internal/ratelimit"
)

// sentStore stores events in memory, unless it fails.
type sentStore struct {
	values map[string][]byte
	err    error
}

func newSentStore() *sentStore { return &sentStore{values: make(map[string][]byte)} }

func (s *sentStore) QuotaEvents() (map[string][]byte, error) { return maps.Clone(s.values), s.err }

func (s *sentStore) PutQuotaEvents(values map[string][]byte) error {
	if s.err == nil {
		maps.Copy(s.values, values)
	}
	return s.err
}

// quotaProcess is a process with a quotaWatch, and a receiver of what it sends.
type quotaProcess struct {
	watch  *quotaWatch
	logged *observer.ObservedLogs
	end    func()

	mu     sync.Mutex // guards bodies
	bodies []string
}

// RoundTrip is that of the receiver.
func (p *quotaProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bodies = append(p.bodies, string(body))
	return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Request: r}, err
}

// startQuotas starts a process that begins with what is in s. It is to be called in a bubble.
func startQuotas(t *testing.T, s quotaStore, budgets func() []ratelimit.Budget) *quotaProcess {
	core, logged := observer.New(zap.WarnLevel)
	p := &quotaProcess{logged: logged}
	n := notify.New(notify.Options{Client: &http.Client{Transport: p}})
	n.Set([]notify.Target{{Name: "a", URL: "http://a", On: notify.Types}})
	p.watch = newQuotaWatch(n, budgets, func(int) int { return 5 }, s, zap.New(core))
	ctx, cancel := context.WithCancel(t.Context())
	for _, run := range []func(context.Context) error{n.Run, p.watch.run} {
		go func() { check(t, run(ctx)) }()
	}
	p.end = func() { cancel(); synctest.Wait() }
	synctest.Wait()
	return p
}

// sent waits for the next look at the budgets, and returns the types of all that was
// received.
func (p *quotaProcess) sent(t *testing.T) string {
	t.Helper()
	time.Sleep(quotaWatchEvery)
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var types []string
	for _, body := range p.bodies {
		var e received
		check(t, json.Unmarshal([]byte(body), &e))
		types = append(types, strings.TrimPrefix(e.Type, "mirrord.quota_"))
	}
	return strings.Join(types, " ")
}

// A budget is low once, until it has recovered by a tenth, and not on its way back.
func TestQuotaEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := ratelimit.Budget{Upstream: "docker.io", Credential: "a", Limit: 100, Remaining: 100}
		var now atomic.Pointer[ratelimit.Budget]
		set := func(b ratelimit.Budget) { now.Store(&b) }
		set(b)
		p := startQuotas(t, newSentStore(), func() []ratelimit.Budget { return []ratelimit.Budget{*now.Load()} })
		defer p.end()
		for i, step := range []struct {
			remaining, limit int
			wait             time.Duration
			want             string
		}{
			{11, 100, 0, ""}, {10, 100, 0, "low"}, {9, 100, 0, "low"}, {15, 100, 0, "low"}, {10, 100, 0, "low"},
			{0, 100, 0, "low gone"}, {-1, 100, 0, "low gone"}, {3, 100, 0, "low gone"}, {21, 100, 0, "low gone"},
			{0, 100, 0, "low gone gone"}, {9, 100, 0, "low gone gone"}, {21, 100, 0, "low gone gone"},
			{10, 100, 0, "low gone gone low"},
			{0, 0, 0, "low gone gone low"}, {0, 0, time.Minute, "low gone gone low gone"}, {0, 0, time.Minute, "low gone gone low gone"},
		} {
			b.Limit, b.Remaining, b.PullsAt = step.limit, step.remaining, time.Time{}
			if step.wait > 0 {
				b.PullsAt = time.Now().Add(step.wait)
			}
			set(b)
			if got := p.sent(t); got != step.want {
				t.Fatalf("step %d: sent %q, want %q", i, got, step.want)
			}
		}
	})
}

// What is still so after a restart is sent again with its id: the last process may not have
// delivered it. What is over is not.
func TestQuotaEventsOfRestart(t *testing.T) {
	for _, test := range []struct {
		name          string
		before, after int // pulls that are left
		sent, again   string
	}{
		{"low", 9, 9, "low", "low"},
		{"low, then gone", 9, 0, "low", "low gone"},
		{"gone", 0, 0, "gone", "gone"},
		{"gone, and coming back", 0, 3, "gone", "gone"},
		{"back", 0, 50, "gone", ""},
		{"never low", 50, 9, "", "low"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := ratelimit.Budget{Upstream: "docker.io", Credential: "a", Limit: 100, Remaining: test.before}
				budgets := func() []ratelimit.Budget { return []ratelimit.Budget{b} }
				s := newSentStore()
				first := startQuotas(t, s, budgets)
				if got := first.sent(t); got != test.sent {
					t.Errorf("sent %q", got)
				}
				first.end()
				b.Remaining = test.after
				second := startQuotas(t, s, budgets)
				if got := second.sent(t); got != test.again {
					t.Errorf("after the restart %q, want %q", got, test.again)
				}
				second.end()
				for i := range min(len(first.bodies), len(second.bodies)) {
					if first.bodies[i] != second.bodies[i] {
						t.Errorf("sent %s, and again %s", first.bodies[i], second.bodies[i])
					}
				}
			})
		})
	}
}

// A budget that is low at the start was low in no process that is known.
func TestQuotaEventsOfStart(t *testing.T) {
	for name, s := range map[string]*sentStore{
		"new":     newSentStore(),
		"damaged": {values: map[string][]byte{"docker.io/a": []byte("{")}},
		"failing": {values: make(map[string][]byte), err: errors.New("disk full")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := startQuotas(t, s, func() []ratelimit.Budget {
					return []ratelimit.Budget{{Upstream: "docker.io", Credential: "a", Limit: 100, Remaining: 9}}
				})
				defer p.end()
				if got := p.sent(t); got != "low" || name != "new" && p.logged.Len() == 0 {
					t.Errorf("sent %q, logged %v", got, p.logged.All())
				}
			})
		})
	}
}

// A limit that is over before the budgets are looked at is told of, and only once while it
// comes back again and again.
func TestShortQuotaEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := ratelimit.NewLedger(nil)
		credential, err := ledger.Transport("public.ecr.aws", "default", shortLimit{})
		check(t, err)
		p := startQuotas(t, newSentStore(), ledger.Budgets)
		defer p.end()
		pull := func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://public.ecr.aws/v2/a/manifests/1", nil)
			check(t, err)
			if _, err := credential.RoundTrip(r); err == nil {
				t.Error("the pull was not refused")
			}
		}
		for _, want := range []string{"gone", "gone"} {
			time.Sleep(time.Second) // of the five between two looks
			pull()
			if got := p.sent(t); got != want {
				t.Errorf("sent %q, want %q", got, want)
			}
		}
		time.Sleep(backAfter)
		synctest.Wait()
		pull()
		if got := p.sent(t); got != "gone gone" {
			t.Errorf("after a quiet time sent %q", got)
		}
	})
}

// shortLimit refuses each pull for a second.
type shortLimit struct{}

func (shortLimit) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}},
		Body: io.NopCloser(strings.NewReader(`{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded"}]}`)), Request: r,
	}, nil
}
