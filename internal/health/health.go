// Package health knows which of the things that the mirror depends on fail, and
// tries them again until they work. The mirror serves meanwhile.
package health

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Component is what can fail. The set is closed, so it can be a metric label.
type Component string

const (
	Disk  Component = "disk"  // blobs cannot be written or read: requests pass through to the upstream
	Index Component = "index" // what is cached is not remembered across a restart
	Fleet Component = "fleet" // less is shared with other mirrors than is configured

	Bucket Component = "bucket" // that of the fleet is left alone: the mirror works by itself
)

// Hooks report changes. Each may be nil, is called without a lock held and must
// not block for long.
type Hooks struct {
	Degraded  func(c Component, err error) // c has begun to fail; reported once
	Recovered func(c Component)            // and works again
}

const retryEvery = 10 * time.Second

// Monitor is the state of all components. New makes one; its methods may be
// called concurrently.
type Monitor struct {
	hooks Hooks

	mu       sync.Mutex // guards all below; no hook or retry is called under it
	degraded map[Component]error
	failures map[Component]int // how often Fail was called
	retries  map[Component][]func() error
	ticks    []func()
}

// New returns a Monitor that knows of no failure.
func New(hooks Hooks) *Monitor {
	return &Monitor{
		hooks:    hooks,
		degraded: make(map[Component]error),
		failures: make(map[Component]int),
		retries:  make(map[Component][]func() error),
	}
}

// OnRetry registers a retry for c, which is degraded until all of its retries
// succeed in one round in which nothing else reports a failure of c: what failed
// after its own retry would not be retried again.
func (m *Monitor) OnRetry(c Component, retry func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.retries[c] = append(m.retries[c], retry)
}

// OnTick registers what is done after each round of retries.
func (m *Monitor) OnTick(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ticks = append(m.ticks, f)
}

// Fail notes that c fails because of err. The first failure is reported, and is the
// one that Degraded returns until c recovers.
func (m *Monitor) Fail(c Component, err error) {
	m.mu.Lock()
	m.failures[c]++
	_, known := m.degraded[c]
	if !known {
		m.degraded[c] = err
	}
	m.mu.Unlock()
	if !known && m.hooks.Degraded != nil {
		m.hooks.Degraded(c, err)
	}
}

// Failing reports whether c is degraded.
func (m *Monitor) Failing(c Component) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.degraded[c] != nil
}

// Degraded returns the components that fail, and why.
func (m *Monitor) Degraded() map[Component]error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.degraded)
}

// Run retries what is degraded every ten seconds, until ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	ticker := time.NewTicker(retryEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			m.retry()
		}
	}
}

func (m *Monitor) retry() {
	for _, c := range slices.Sorted(maps.Keys(m.Degraded())) {
		m.retryComponent(c)
	}
	m.mu.Lock()
	ticks := slices.Clone(m.ticks)
	m.mu.Unlock()
	for _, f := range ticks {
		f()
	}
}

func (m *Monitor) retryComponent(c Component) {
	m.mu.Lock()
	failures, retries := m.failures[c], slices.Clone(m.retries[c])
	m.mu.Unlock()
	for _, retry := range retries {
		if retry() != nil {
			return
		}
	}
	m.mu.Lock()
	recovered := m.failures[c] == failures
	if recovered {
		delete(m.degraded, c)
	}
	m.mu.Unlock()
	if recovered && m.hooks.Recovered != nil {
		m.hooks.Recovered(c)
	}
}
