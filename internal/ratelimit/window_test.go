package ratelimit

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
)

// window is an upstream that counts pulls as Docker Hub does: HEADs are free, and
// every response reports what is left.
type window struct {
	limit  int
	length time.Duration

	opened  time.Time
	pulls   int
	refused int
}

func (w *window) RoundTrip(req *http.Request) (*http.Response, error) {
	if time.Since(w.opened) >= w.length {
		w.opened, w.pulls = time.Now(), 0
	}
	resp := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	if isPull(req) && w.pulls == w.limit {
		w.refused++
		resp = refusal(pullBody, "")
	} else if isPull(req) {
		w.pulls++
	}
	seconds := int(w.length.Seconds())
	resp.Header = header(
		"Ratelimit-Limit", fmt.Sprintf("%d;w=%d", w.limit, seconds),
		"Ratelimit-Remaining", fmt.Sprintf("%d;w=%d", w.limit-w.pulls, seconds),
		"Docker-Ratelimit-Source", "192.0.2.7")
	return resp, nil
}

// The life of a window: it is spent pull by pull, refuses once, is observed with free
// HEADs until its end, and then is open again.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &window{limit: 3, length: time.Hour}
		tr := New("docker.io", "login", w)
		begun := time.Now()
		for left := 2; left >= 0; left-- {
			if limit := try(t, tr, pull); limit != nil {
				t.Fatal(limit)
			}
			b := tr.Budget()
			if b.Limit != 3 || b.Remaining != left || b.Window != time.Hour || !b.ResetBy.Equal(begun.Add(time.Hour)) || b.Source != "192.0.2.7" {
				t.Errorf("%+v, want %d left until %s", b, left, begun.Add(time.Hour))
			}
			<-time.After(time.Minute)
		}
		limit := try(t, tr, pull)
		if limit == nil || limit.Kind != oci.LimitPulls || limit.Limit != 3 || limit.Window != time.Hour || !limit.ResetBy.Equal(begun.Add(time.Hour)) {
			t.Fatalf("%+v, want the limit as it is known", limit)
		}
		for time.Since(begun) < 59*time.Minute { // every answer to a HEAD says that nothing is left
			if limit := try(t, tr, pull); limit == nil {
				t.Fatal("a pull goes through")
			}
			try(t, tr, head)
			<-time.After(30 * time.Second)
		}
		if w.refused != 1 {
			t.Errorf("%d pulls were refused, want 1: the others were known to be", w.refused)
		}
		<-time.After(2 * time.Minute)
		try(t, tr, head)
		if limit := try(t, tr, pull); limit != nil {
			t.Errorf("%v, want the new window used at once", limit)
		}
		b := tr.Budget()
		if b.Spent != 4 || b.Limited[oci.LimitPulls] != 1 || b.LimitedBy != oci.LimitPulls || w.refused != 1 || b.Remaining != 2 {
			t.Errorf("%+v after %d refusals", b, w.refused)
		}
		<-time.After(2 * time.Hour)
		if b := tr.Budget(); b.Known() || b.Remaining != 0 || b.Observed.IsZero() {
			t.Errorf("%+v, want nothing known any more but when it was", b)
		}
	})
}

// One pull detects an upstream that reports that nothing is left but accepts pulls.
func TestWrongReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &window{limit: 1, length: time.Hour}
		tr := New("docker.io", "login", w)
		try(t, tr, pull)
		if limit := try(t, tr, pull); limit == nil {
			t.Fatal("a second pull goes through")
		}
		wrong := roundTripper(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: http.NoBody, Header: header("Ratelimit-Limit", "3;w=3600", "Ratelimit-Remaining", "0;w=3600")}, nil
		})
		tr.next = wrong
		closed := time.Now()
		for try(t, tr, pull) != nil {
			if time.Since(closed) > 62*time.Minute {
				t.Fatal("the window is over, and no pull finds out")
			}
			try(t, tr, head)
			<-time.After(30 * time.Second)
		}
	})
}

// A refusal that reports that pulls are left closes the gate nevertheless.
func TestRefusedWithPullsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := 0
		tr := New("docker.io", "login", roundTripper(func(req *http.Request) (*http.Response, error) {
			resp := &http.Response{StatusCode: 200, Body: http.NoBody, Header: make(http.Header)}
			if isPull(req) {
				refused++
				resp = refusal(pullBody, "60")
			}
			resp.Header.Set("Ratelimit-Limit", "100;w=21600")
			resp.Header.Set("Ratelimit-Remaining", "50;w=21600")
			return resp, nil
		}))
		for range 10 {
			try(t, tr, pull)
			try(t, tr, head)
			<-time.After(5 * time.Second)
		}
		if refused != 1 {
			t.Errorf("%d pulls were refused, want 1", refused)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The report and closed gates survive a restart.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &window{limit: 1, length: time.Hour}
		first := NewLedger(nil)
		one, err := first.Transport("docker.io", "one", w)
		check(t, err)
		two, err := first.Transport("docker.io", "two", &window{limit: 5, length: time.Hour})
		check(t, err)
		try(t, one, pull)
		try(t, one, pull)
		try(t, two, pull)
		before := first.Budgets()

		second := NewLedger(first.Records())
		again, err := second.Transport("docker.io", "one", w)
		check(t, err)
		_, err = second.Transport("docker.io", "two", w)
		check(t, err)
		fresh, err := second.Transport("docker.io", "three", w)
		check(t, err)
		after := second.Budgets()
		for i, b := range before {
			a := after[i]
			if a.Limit != b.Limit || a.Remaining != b.Remaining || !a.ResetBy.Equal(b.ResetBy) || !a.Observed.Equal(b.Observed) || !a.PullsAt.Equal(b.PullsAt) || a.LimitedBy != b.LimitedBy || !a.RefusedAt.Equal(b.RefusedAt) {
				t.Errorf("after the restart %+v, before %+v", a, b)
			}
		}
		if limit := try(t, again, pull); limit == nil || w.refused != 1 {
			t.Errorf("%v after %d refusals: the limit is forgotten", limit, w.refused)
		}
		if b := fresh.Budget(); b.Known() {
			t.Errorf("%+v of a credential that is new", b)
		}
		<-time.After(61 * time.Minute)
		if limit := try(t, again, pull); limit != nil {
			t.Errorf("%v, want the window over", limit)
		}
	})
}

// All credentials of an upstream share the abuse limiter; each has its own pull
// limit.
func TestSharedAbuseLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger(nil)
		limited := &limiter{refuse: func(*http.Request) *http.Response { return refusal(pullBody, "60") }}
		one, err := l.Transport("docker.io", "one", limited)
		check(t, err)
		free := new(limiter)
		two, err := l.Transport("docker.io", "two", free)
		check(t, err)
		other, err := l.Transport("ghcr.io", "one", free)
		check(t, err)
		try(t, one, pull)
		if limit := try(t, two, pull); limit != nil {
			t.Errorf("%v: the other credential has a limit of its own", limit)
		}
		limited.refuse = func(*http.Request) *http.Response { return refusal(abuseBody, "60") }
		try(t, one, head)
		if limit := try(t, two, head); limit == nil || limit.Kind != oci.LimitRequests {
			t.Errorf("%v, want the upstream left alone", limit)
		}
		if limit := try(t, other, head); limit != nil {
			t.Errorf("%v: another upstream is stopped", limit)
		}
	})
}

func TestBrokenRecord(t *testing.T) {
	t.Parallel()
	l := NewLedger(map[string][]byte{"docker.io login": []byte("{"), "docker.io far": []byte(`{"Pulls":{"RetryAt":"9999-01-01T00:00:00Z"}}`)})
	tr, err := l.Transport("docker.io", "login", &replies{status: 200})
	if err == nil || tr == nil || tr.Budget().Known() {
		t.Errorf("%v, %v", tr, err)
	}
	far, err := l.Transport("docker.io", "far", &replies{status: 200})
	if wait := time.Until(far.Budget().PullsAt); err != nil || wait > maxRetry {
		t.Errorf("no pull for %s, %v: want it cut to %s", wait, err, maxRetry)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Reserved depends on what is left.
func TestReserved(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(time.Minute)
	for name, test := range map[string]struct {
		budget  Budget
		reserve int
		want    oci.LimitKind
	}{
		"nothing known":    {Budget{}, 10, ""},
		"plenty":           {Budget{Limit: 100, Remaining: 11}, 10, ""},
		"at the reserve":   {Budget{Limit: 100, Remaining: 10}, 10, oci.LimitReserve},
		"below zero":       {Budget{Limit: 100, Remaining: -3}, 10, oci.LimitReserve},
		"no reserve":       {Budget{Limit: 100, Remaining: 0}, 0, ""},
		"pulls stopped":    {Budget{Limit: 100, Remaining: 50, PullsAt: soon}, 0, oci.LimitPulls},
		"requests stopped": {Budget{PullsAt: soon, RequestsAt: soon}, 10, oci.LimitRequests},
	} {
		got := oci.LimitKind("")
		if limit := test.budget.Reserved(test.reserve); limit != nil {
			got = limit.Kind
			if !strings.Contains(limit.Error(), "(wait") {
				t.Errorf("%s: %q does not say what to do", name, limit)
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
