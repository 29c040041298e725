// Package doctor checks a mirror and what it needs from its surroundings, and says what to
// do about each thing that is wrong. No check spends a pull, and none tells a secret.
package doctor

import (
	"context"

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
	Disk             *Disk  // of the cache
	Dir              string // of it
	Fills            string // below Dir, of unfinished fills
	MaxSize, MinFree int64  // of the cache, in bytes
	Holds            int64  // bytes that the cache holds; of a Process only
	Process          bool   // this process is the mirror, so that its own limits count
	Upstreams        []Upstream
	Bucket           bucket.Bucket // of its fleet; nil: none
	BucketName       string        // for a person
}

// Check checks all of it but the disk, see CheckDisk, and passes each Check to report, from
// one goroutine. Upstreams and the bucket are asked at the same time, and take 34 seconds at
// most.
func (m Mirror) Check(ctx context.Context, report func(Check)) {
	if m.Process {
		for _, c := range files() {
			report(c)
		}
	}
	var tasks []func() []Check
	for _, u := range m.Upstreams {
		tasks = append(tasks, func() []Check { return u.check(ctx) })
	}
	if m.Bucket != nil {
		tasks = append(tasks, func() []Check { return []Check{Bucket(ctx, m.BucketName, m.Bucket)} })
	}
	inOrder(tasks, report)
}

// inOrder runs the tasks at the same time, and passes the checks of each to report, in their
// order, as soon as those before it are done, too.
func inOrder(tasks []func() []Check, report func(Check)) {
	found := make([]chan []Check, len(tasks))
	for i, task := range tasks {
		found[i] = make(chan []Check, 1)
		go func() { found[i] <- task() }()
	}
	for _, checks := range found {
		for _, c := range <-checks {
			report(c)
		}
	}
}

// CheckDisk checks the disk of the cache, and passes each Check to report. It takes ten
// seconds at most.
func (m Mirror) CheckDisk(ctx context.Context, report func(Check)) {
	for _, c := range m.disk(ctx) {
		report(c)
	}
}
