// Package doctor checks a mirror and what it needs from its surroundings, and says what to
// do about each thing that is wrong. No check spends a pull, and none tells a secret.
package doctor

import (
	"context"
	"sync"

	"mirrord/internal/fleet/bucket"
)

// A State is the result of a Check.
type State string

// The states, the worst last.
const (
	OK   State = "ok"
	Info State = "info" // neither right nor wrong
	Warn State = "warn"
	Fail State = "fail"
)

// Check is one thing that was checked.
type Check struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"` // what to do; empty when State is OK
}

// Mirror is what is checked of a mirror.
type Mirror struct {
	Dir              string // of the cache
	MaxSize, MinFree int64  // of the cache, in bytes
	Process          bool   // this process is the mirror, so that its own limits count
	Upstreams        []Upstream
	Bucket           bucket.Bucket // of its fleet; nil: none
	BucketName       string        // for a person
}

// Check checks all of it and passes each Check to report, from one goroutine. Upstreams
// are asked at the same time, and take 34 seconds at most.
func (m Mirror) Check(ctx context.Context, report func(Check)) {
	all := Disk(m.Dir, m.MaxSize, m.MinFree)
	if m.Process {
		all = append(all, files()...)
	}
	for _, c := range all {
		report(c)
	}
	found := make([][]Check, len(m.Upstreams))
	var asked sync.WaitGroup
	for i, u := range m.Upstreams {
		asked.Go(func() { found[i] = u.check(ctx) })
	}
	asked.Wait()
	for _, checks := range found {
		for _, c := range checks {
			report(c)
		}
	}
	if m.Bucket != nil {
		report(Bucket(ctx, m.BucketName, m.Bucket))
	}
}
