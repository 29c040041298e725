package ratelimit

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/oci"
)

// fleet is a Shared that notes what it is asked.
type fleet struct {
	asked []string
	told  []Outcome
	err   error
	known Budget
}

func (f *fleet) Take(_ context.Context, account string, mayUseReserve bool) error {
	f.asked = append(f.asked, fmt.Sprintf("%s %v", account, mayUseReserve))
	return f.err
}

func (f *fleet) Told(_ string, o Outcome) { f.told = append(f.told, o) }

func (f *fleet) Known(string) Budget { return f.known }

// Only pulls are taken from the shared budget, of the account that the upstream counts by
// once that is known, and with whether they may use the reserve.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for user, account := range map[string]string{"": "source 192.0.2.7", "office": "user office"} {
			f := new(fleet)
			tr := New("docker.io", "login", &window{limit: 9, length: time.Hour})
			tr.Share(f, func() string { return user })
			if limit := try(t, tr, head); limit != nil {
				t.Fatal(limit)
			}
			for _, ctx := range []context.Context{t.Context(), oci.WithoutReserve(t.Context()), oci.WithBackground(t.Context())} {
				if _, err := tr.RoundTrip(pull.WithContext(ctx)); err != nil {
					t.Error(err)
				}
			}
			if diff := cmp.Diff([]string{account + " true", account + " false", account + " false"}, f.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if o := f.told[len(f.told)-1]; !o.Pull || !o.Reported || !o.Answered || o.Budget.Remaining != 6 {
				t.Errorf("told: %+v", o)
			}
		}
	})
}

// A pull that is refused is not sent, and the next one is asked for again, also where it would
// have tested a limit of this mirror.
func TestSharedRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fleet)
		w := &window{limit: 1, length: time.Minute}
		tr := New("docker.io", "login", w)
		tr.Share(f, func() string { return "office" })
		try(t, tr, pull)
		if limit := try(t, tr, pull); limit == nil {
			t.Fatal("no limit")
		}
		if o := f.told[1]; o.Limited == nil || o.Limited.RetryAt.IsZero() || !o.Pull {
			t.Errorf("told: %+v", o)
		}
		<-time.After(2 * time.Minute)
		f.err = &oci.LimitError{Kind: oci.LimitReserve}
		for range 2 {
			if limit := try(t, tr, pull); limit == nil || limit.Kind != oci.LimitReserve || w.pulls > 1 || w.refused > 1 {
				t.Errorf("%v, %+v", limit, w)
			}
		}
		f.err = nil
		if limit := try(t, tr, pull); limit != nil {
			t.Error(limit)
		}
	})
}

// What others know of less counts; what they know of more does not.
func TestSharedBudget(t *testing.T) {
	now := time.Now()
	own := Budget{Limit: 100, Remaining: 50, PullsAt: now}
	for name, test := range map[string]struct{ all, want Budget }{
		"nothing":  {Budget{}, own},
		"more":     {Budget{Limit: 100, Remaining: 60}, own},
		"less":     {Budget{Limit: 200, Remaining: 40, Window: time.Hour}, Budget{Limit: 200, Remaining: 40, Window: time.Hour, PullsAt: now}},
		"earlier":  {Budget{PullsAt: now.Add(-time.Second)}, own},
		"later":    {Budget{PullsAt: now.Add(time.Second)}, Budget{Limit: 100, Remaining: 50, PullsAt: now.Add(time.Second)}},
		"shared":   {Budget{Shared: true}, Budget{Limit: 100, Remaining: 50, PullsAt: now, Shared: true}},
		"requests": {Budget{RequestsAt: now}, Budget{Limit: 100, Remaining: 50, PullsAt: now, RequestsAt: now}},
	} {
		if diff := cmp.Diff(test.want, own.withShared(test.all)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if b := (Budget{}).withShared(Budget{Limit: 100, Remaining: 60}); b.Remaining != 60 {
		t.Errorf("%+v where this mirror knows nothing", b)
	}
	f := &fleet{known: Budget{Upstream: "docker.io", RequestsAt: now.Add(time.Hour)}}
	tr := New("docker.io", "login", &window{limit: 1, length: time.Minute})
	tr.Share(f, func() string { return "office" })
	if limit := try(t, tr, head); limit == nil || limit.Kind != oci.LimitRequests {
		t.Errorf("%v, want the limit of requests that another mirror has met", limit)
	}
}
