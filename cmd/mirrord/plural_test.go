package main

import (
	"strings"
	"testing"

	"mirrord/internal/admin"
	"mirrord/internal/fleet/sweep"
	"mirrord/internal/status"
)

// One thing is not said of as several are.
func TestOneOfEach(t *testing.T) {
	var swept strings.Builder
	collect := fleetCollect{last: admin.FleetSweepLine{Result: sweep.Result{Objects: 1, Removed: map[string]int{"content": 1}, Unknown: 1}}}
	collect.writeSummary(&swept)
	for got, want := range map[string]string{
		swept.String(): "1 object, 0B; 1 removed, 0B\n  content  1\n1 object is not of this version of mirrord, and stays\n",
		latencyText("read", status.FleetLatency{Requests: 1}): "1 read, many slower than 10 s",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	screen := statusScreen(status.Status{Fleet: &status.Fleet{UploadsWaiting: 1}, Cache: status.Cache{Blobs: 1}}, 0)
	for _, want := range []string{" in 1 blob; ", "; 1 upload waits\n"} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q in\n%s", want, screen)
		}
	}
}
