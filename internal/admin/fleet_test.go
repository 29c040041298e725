package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mirrord/internal/fleet/roster"
	"mirrord/internal/fleet/sweep"
	"mirrord/internal/status"
)

// A bucket is cleaned up by one at a time, and what was done is told when that breaks off.
func TestSweepFleet(t *testing.T) {
	broken := errors.New("broken")
	a := New(Options{Fleet: &FleetOptions{Sweep: func(_ context.Context, dryRun bool, progress func(sweep.Result)) (sweep.Result, error) {
		progress(sweep.Result{Objects: 1})
		return sweep.Result{Objects: 2, Removed: map[string]int{"content": 1}}, broken
	}}})
	ask := func() (int, string) {
		w := httptest.NewRecorder()
		stream(a.sweepFleet)(w, httptest.NewRequest(http.MethodPost, "/v1/fleet/gc", nil))
		return w.Code, w.Body.String()
	}
	if code, text := ask(); code != http.StatusOK || strings.Count(text, "\n") != 3 ||
		!strings.Contains(text, `"removed":{"content":1}`) || !strings.HasSuffix(text, "{\"error\":\"broken\"}\n") || strings.Contains(text, "done") {
		t.Errorf("%d %s", code, text)
	}
	a.sweeping.Lock()
	defer a.sweeping.Unlock()
	if code, text := ask(); code != http.StatusConflict || !strings.Contains(text, "cleaned up already") {
		t.Errorf("%d %s", code, text)
	}
}

// A bucket that cannot be listed hides no more than the other mirrors.
func TestFleetStatus(t *testing.T) {
	var failure error
	a := New(Options{Fleet: &FleetOptions{
		Status: func() *status.Fleet { return &status.Fleet{Node: "one", Boot: "b1"} },
		Members: func(context.Context) ([]roster.Member, error) {
			return []roster.Member{{Node: "one", Boot: "b1"}, {Node: "one", Boot: "b2"}, {Node: "one", Boot: "b0", Stopped: true}, {Node: "two", Boot: "b1", Stopped: true}}, failure
		},
	}})
	ask := func() (f Fleet) {
		w := httptest.NewRecorder()
		respond(a.fleetStatus)(w, httptest.NewRequest(http.MethodGet, "/v1/fleet", nil))
		if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %v", w.Code, err)
		}
		return f
	}
	f := ask()
	if n := f.Nodes; len(n) != 3 || !n[0].Here || !n[0].Twice || n[1].Here || !n[1].Twice || n[2].Here || n[2].Twice || !n[2].Stopped {
		t.Errorf("nodes %+v", n)
	}
	failure = errors.New("broken")
	if f := ask(); f.Unknown != "broken" || f.Node != "one" {
		t.Errorf("%+v", f)
	}
}
