package status

import (
	"fmt"
	"slices"
)

// advices say what to do about a component of the mirror that fails.
var advices = map[string]string{
	"bucket": "mirrord doctor checks endpoint, key and region. Clients are served without the bucket, and uploads wait; it is tried again within a minute.",
	"disk":   "Free space on the file system of the cache, or repair the disk: it is tried again every 10 s. Until then clients are served past the cache.",
	"fleet":  "Give all mirrors of the fleet the same fleet.secret_file, and a store that docs/fleet.md says can do what it needs; mirrord fleet status says more.",
	"index":  "Free space: the index needs 64 MiB; or repair the disk. Everything is served, but a restart loses what cannot be recorded.",
}

// Degrade says in s that the mirror works without a component, because of err.
func (s *Status) Degrade(component string, err error) {
	if s.Degraded == nil {
		s.Degraded = make(map[string]string)
	}
	s.Degraded[component] = err.Error()
	s.alarm(Problem{Summary: component + " is failing", Error: oneLine(component + ": " + err.Error()), Advice: advices[component]})
}

// Fail says in s that hosts of an upstream do not respond.
func (s *Status) Fail(upstream string, hosts int) {
	if s.Failing == nil {
		s.Failing = make(map[string]int)
	}
	s.Failing[upstream] = hosts
	s.alarm(Problem{Upstream: upstream, Summary: "upstream down", Error: failingHosts(hosts, upstream), Advice: causeBroken.advice})
}

// alarm puts a problem that there is now before those of requests.
func (s *Status) alarm(p Problem) {
	p.Time, p.Count, p.Ongoing = s.Now, 1, true
	s.Errors = slices.Insert(s.Errors, 0, p)
}

// failingHosts says that hosts of an upstream are down.
func failingHosts(n int, upstream string) string {
	if n == 1 {
		return fmt.Sprintf("a host of %s has failed repeatedly; it is asked again every 5 s", upstream)
	}
	return fmt.Sprintf("%d hosts of %s have failed repeatedly; they are asked again every 5 s", n, upstream)
}
