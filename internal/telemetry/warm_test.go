package telemetry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mirrord/internal/telemetry"
	"mirrord/internal/warm"
)

// What became of lists is exported; what has not happened yet is 0 or absent.
func TestWarmMetrics(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	m := telemetry.NewMetrics("1.2.3")
	m.WatchWarm(func() []warm.ListStatus {
		return []warm.ListStatus{
			{Name: "new", Next: at},
			{Name: "old", LastSuccess: at.Add(-time.Hour), Last: &warm.Completed{Outcome: warm.RunFailed, Summary: warm.Summary{Warmed: 1, Cached: 2, Failed: 3}},
				Runs: map[warm.RunOutcome]int64{warm.RunFailed: 4, warm.RunSkipped: 5}},
		}
	})
	const want = `
# HELP mirrord_warm_images Images in the last run of a list since the start, by outcome.
# TYPE mirrord_warm_images gauge
mirrord_warm_images{list="new",outcome="cached"} 0
mirrord_warm_images{list="new",outcome="failed"} 0
mirrord_warm_images{list="new",outcome="waiting"} 0
mirrord_warm_images{list="new",outcome="warmed"} 0
mirrord_warm_images{list="old",outcome="cached"} 2
mirrord_warm_images{list="old",outcome="failed"} 3
mirrord_warm_images{list="old",outcome="waiting"} 0
mirrord_warm_images{list="old",outcome="warmed"} 1
# HELP mirrord_warm_last_success_timestamp_seconds When a run of a list ended last with all its images cached; absent until the first since the start.
# TYPE mirrord_warm_last_success_timestamp_seconds gauge
mirrord_warm_last_success_timestamp_seconds{list="old"} 1.7999964e+09
# HELP mirrord_warm_list_failing 1 if the last run of a list failed: the list cannot be read, or some images failed.
# TYPE mirrord_warm_list_failing gauge
mirrord_warm_list_failing{list="new"} 0
mirrord_warm_list_failing{list="old"} 1
# HELP mirrord_warm_next_run_timestamp_seconds When a list is warmed next.
# TYPE mirrord_warm_next_run_timestamp_seconds gauge
mirrord_warm_next_run_timestamp_seconds{list="new"} 1.8e+09
# HELP mirrord_warm_runs_total Runs of a list of warm.lists that are over, by outcome; waiting is for a pull limit or max_pulls, skipped for a run before that was not over.
# TYPE mirrord_warm_runs_total counter
mirrord_warm_runs_total{list="new",outcome="done"} 0
mirrord_warm_runs_total{list="new",outcome="failed"} 0
mirrord_warm_runs_total{list="new",outcome="skipped"} 0
mirrord_warm_runs_total{list="new",outcome="waiting"} 0
mirrord_warm_runs_total{list="old",outcome="done"} 0
mirrord_warm_runs_total{list="old",outcome="failed"} 4
mirrord_warm_runs_total{list="old",outcome="skipped"} 5
mirrord_warm_runs_total{list="old",outcome="waiting"} 0
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "mirrord_warm_images", "mirrord_warm_last_success_timestamp_seconds",
		"mirrord_warm_list_failing", "mirrord_warm_next_run_timestamp_seconds", "mirrord_warm_runs_total"); err != nil {
		t.Error(err)
	}
}

// A run is one line in the log, and one for each image that failed.
func TestWarmLog(t *testing.T) {
	core, lines := observer.New(zap.InfoLevel)
	hooks := telemetry.WarmHooks(zap.New(core))
	for _, c := range []warm.Completed{
		{Outcome: warm.RunDone},
		{Outcome: warm.RunWaiting},
		{Outcome: warm.RunFailed, Error: "l:3: wrong"},
		{Outcome: warm.RunFailed, Failures: []warm.Result{{Image: "a"}}, Skipped: []warm.Skipped{{Where: "l:4"}}},
	} {
		hooks.Ended("base", c)
	}
	hooks.Skipped("base", time.Now())
	var got []string
	for _, line := range lines.All() {
		got = append(got, line.Level.String()+" "+line.Message)
		if line.ContextMap()["list"] != "base" {
			t.Errorf("%s: %v", line.Message, line.ContextMap())
		}
	}
	if diff := cmp.Diff([]string{
		"info warm list done",
		"warn warm list: some images wait",
		"warn warm list failed; the next run tries again",
		"warn warm list: an entry names no image and is left out",
		"warn warm list: an image failed",
		"warn warm list: some images failed",
		"warn warm list is due and left out, because its last run is not over; give it fewer images or more time",
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
