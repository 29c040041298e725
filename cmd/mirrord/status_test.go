package main

import (
	"strings"
	"testing"
	"time"

	"mirrord/internal/status"
)

// A status of anything fits 80 columns and one screen, and sends a terminal nothing but
// text. Where there is no terminal, nothing is cut.
func TestStatusScreen(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	long := strings.Repeat("very-long-name/", 20)
	reset, left := now.Add(time.Hour), -3
	s := status.Status{
		Version: "1.2.3", Now: now, Started: now.Add(-50 * time.Hour), Offline: true,
		Today:   status.Traffic{Requests: 1 << 40, Hits: 1 << 39, Bytes: 1 << 50, Fetched: 1 << 49, PullsSaved: 1 << 40},
		Month:   status.Traffic{Bytes: 1 << 60},
		Budgets: []status.Budget{{Upstream: long, Credential: long, Remaining: &left, Limit: 100, ResetBy: &reset, State: "no pulls left"}},
		Cache:   status.Cache{Bytes: 1 << 40, Max: 1 << 50, Holds: 1e6},
	}
	s.Cache.Pins, s.Cache.Pinned, s.Cache.MaxPinned = 1, 1<<30, 1<<40
	for range 20 {
		s.Warm = append(s.Warm, status.WarmList{Name: long, Running: true, Last: &s.Started, Outcome: "waiting", Images: 1 << 30, Cached: 1 << 29})
		s.Images = append(s.Images, status.Use{Name: "docker.io/" + long + ":tag", Pulls: 1 << 40, Bytes: 1 << 50})
		s.Fills = append(s.Fills, status.Fill{Upstream: "docker.io", Repository: long, Digest: "sha256:0123456789abcdef", Size: -1, Bytes: 5, Rate: 1e9})
		s.Errors = append(s.Errors, status.Problem{Time: now, Count: 7, Image: long, Summary: "unavailable", Error: "bad \x1b[31m words " + long, Advice: strings.Repeat("advice ", 40)})
	}
	text := statusScreen(s, screenWidth)
	whole := statusScreen(s, 0)
	for _, want := range []string{"\n  bad ?[31m words " + long + "\n", "\n  -> " + strings.Repeat(" advice", 40)[1:] + "\n", "\n" + shortName("docker.io/"+long+":tag") + "  "} {
		if !strings.Contains(whole, want) {
			t.Errorf("no %q in\n%s", want, whole)
		}
	}
	if strings.Contains(whole, "…") {
		t.Errorf("something is cut without a terminal:\n%s", whole)
	}
	lines := strings.Split(text, "\n")
	for _, line := range lines {
		if n := len([]rune(line)); n > screenWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.ContainsAny(text, "\x1b\x07") {
		t.Errorf("%q", text)
	}
	if len(lines) > 48 {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
	for _, want := range []string{"up for 2 days, offline", "50% of what", "\nand 17 more; --json has all\n", "and 17 more; mirrord warm --lists has all\n", "-3 of 100 left", "…", "pinned     1GiB of 1TiB, 1 image\n", ": waiting 2 days ago, 536870912 of"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
