// Package pagetest has what tests of the status page show: a busy mirror with everything
// on its page, and names of someone who wants to run a script there.
package pagetest

import (
	"math"
	"time"

	"mirrord/internal/status"
)

// Hostile is a name that is markup, an attribute, a script and a template.
const Hostile = `"><script>document.title='owned'</script><img src=x onerror=alert(1)>{{.}}${0}' onmouseover='x`

// Status is a busy mirror, with a little of everything wrong.
func Status(now time.Time) status.Status {
	left, gone := 31, 0
	soon, later := now.Add(3*time.Hour+12*time.Minute), now.Add(40*time.Minute)
	early, tomorrow := now.Add(-9*time.Hour), now.Add(15*time.Hour)
	return status.Status{
		Version: "v1.4.0", Started: now.Add(-12*24*time.Hour - 4*time.Hour), Now: now,
		Degraded: map[string]string{"disk": "write /var/cache/mirrord/fills/3f: no space left on device"},
		Failing:  map[string]int{"quay.io": 1},
		Start:    status.Traffic{Requests: 1_204_331, Hits: 1_139_004, Failed: 1_022, Bytes: 41 << 40, Fetched: 3<<40 + 5<<38, PullsSaved: 104_233, PullsSpent: 3_120},
		Today:    status.Traffic{Requests: 12_405, Hits: 11_672, Failed: 3, Bytes: 402 << 30, Fetched: 31 << 30, PullsSaved: 1_204, PullsSpent: 38},
		Month:    status.Traffic{Requests: 402_233, Hits: 377_004, Failed: 240, Bytes: 14 << 40, Fetched: 1 << 40, PullsSaved: 38_120, PullsSpent: 1_022},
		Budgets: []status.Budget{
			{Upstream: "docker.io", Credential: "ci-pulls", Remaining: &left, Limit: 200, ResetBy: &soon, State: "ok"},
			{Upstream: "docker.io", Credential: "anonymous", Remaining: &gone, Limit: 100, ResetBy: &later, State: "used up; requests go to other credentials"},
			{Upstream: "ghcr.io", Credential: "default", State: "ok"},
		},
		Cache: status.Cache{Bytes: 812 << 30, Max: 1 << 40, Free: 310 << 30, Blobs: 41_233, Pinned: 12 << 30, MaxPinned: 512 << 30, Pins: 7, Evicted: 55 << 30, Oldest: 12.3 * 86400, Holds: 23.4 * 86400},
		Fleet: &status.Fleet{
			Bucket: "acme-mirror at https://s3.example.com", Node: "mirror-1", Boot: "b1", Probed: true, Conditions: true, Ages: true, Secret: "wrong", Problem: Hostile,
			Outage:         &status.FleetError{Since: now.Add(-7 * time.Minute), Error: "get v1/pub/b/sha256/00: connection refused"},
			UploadsWaiting: 1_234, BytesRead: 81 << 30, BytesWritten: 12 << 30, Reads: status.FleetLatency{Requests: 41_233, Most: 0.025}, Writes: status.FleetLatency{Requests: 812, Most: 1},
		},
		Fills: []status.Fill{
			{Upstream: "docker.io", Repository: "pytorch/pytorch", Digest: "sha256:7d2c5f1a9b3e4c6d8f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60", Bytes: 1_912_000_000, Size: 3_402_000_000, Waiters: 4, Started: now.Add(-48 * time.Second), Rate: 38.2e6},
			{Upstream: "ghcr.io", Repository: "actions/actions-runner", Digest: "sha256:0b1c2d3e4f5061728394a5b6c7d8e9f00b1c2d3e4f5061728394a5b6c7d8e9f0", Bytes: 12_400_000, Size: -1, Waiters: 1, Background: true, Started: now.Add(-3 * time.Second), Rate: 4.1e6},
			{Upstream: "docker.io", Repository: Hostile, Digest: Hostile, Bytes: 0, Size: 3_000_000, Started: now, Queued: true},
		},
		Warm: []status.WarmList{
			{Name: "base", Next: &tomorrow, Last: &early, Outcome: "done", Images: 42, Cached: 42},
			{Name: "ci-images", Running: true, Next: &tomorrow, Last: &early, Outcome: "failed", Images: 30, Cached: 28},
			{Name: "new"},
		},
		Images:  uses(now, "docker.io/library/node:22", "docker.io/library/python:3.13-slim", "ghcr.io/actions/actions-runner:latest", "docker.io/library/golang:1.26", Hostile),
		Clients: uses(now, "10.20.4.17", "ci-runner", "fd00:20:4::17", Hostile),
		Errors: []status.Problem{
			{
				Time: now.Add(-95 * time.Second), Count: 17, Upstream: "docker.io", Image: "docker.io/library/rust:1.91", Summary: "pull limit reached",
				Error:  "docker.io limits pulls until 15:10 UTC, and library/rust:1.91 is not cached",
				Advice: "Give the mirror a login with a higher limit, or wait: mirrord quota says until when. Cached images are still served.",
			},
			{
				Time: now.Add(-3 * time.Hour), Count: 1, Upstream: "quay.io", Image: "quay.io/prometheus/node-exporter:latest", Summary: "connection refused",
				Error:  "dial tcp 203.0.113.7:443: connect: connection refused",
				Advice: "Check the url of the upstream, proxies and firewalls from the mirror's host: curl -sI https://REGISTRY/v2/ gets 200 or 401 when all is well.",
			},
			{Time: now.Add(-9 * time.Hour), Count: 2, Upstream: "docker.io", Image: Hostile, Summary: "not found", Error: Hostile, Advice: Hostile, Minor: true},
		},
	}
}

// uses are of less and less each.
func uses(now time.Time, names ...string) (all []status.Use) {
	for i, name := range names {
		n := int64(4_210 / (i + 1))
		all = append(all, status.Use{Name: name, Pulls: n / 7, Requests: n, Hits: n * 96 / 100, Bytes: n * 7_340_000, Last: now.Add(-time.Duration(i*i*7) * time.Minute)})
	}
	return all
}

// History is a year of working days, and of an outage yesterday evening.
func History(now time.Time) (h status.History) {
	for i := range 1440 {
		t := now.Truncate(time.Minute).Add(time.Duration(i-1439) * time.Minute)
		hour := float64(t.Hour()) + float64(t.Minute())/60
		n := 4 + 26*math.Exp(-math.Pow((hour-11)/3, 2)) + 18*math.Exp(-math.Pow((hour-16)/2.5, 2))
		if i%29 < 2 {
			n *= 1.6
		}
		h.Minutes = append(h.Minutes, point(t, n, i > 400 && i < 460))
	}
	year, month, day := now.Date()
	for i := range 366 {
		t := time.Date(year, month, day+i-365, 0, 0, 0, 0, now.Location())
		n := 9_000 + 25*float64(i) + 1_500*math.Sin(float64(i)/9)
		if weekday := t.Weekday(); weekday == time.Saturday || weekday == time.Sunday {
			n *= 0.2
		}
		h.Days = append(h.Days, point(t, n, i == 365-40))
	}
	return h
}

func point(t time.Time, n float64, outage bool) status.Point {
	requests := int64(n)
	traffic := status.Traffic{Requests: requests, Hits: requests * 93 / 100, Bytes: requests * 33 << 20, Fetched: requests * 3 << 20, PullsSaved: requests / 10}
	if outage {
		traffic.Failed, traffic.Hits = requests/5, requests*78/100
	}
	return status.Point{Time: t, Traffic: traffic}
}
