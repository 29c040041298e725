package notify

import (
	"context"
	"slices"
	"sync"
)

// Test is of an event that is sent only because somebody asks for it. It says nothing, and
// every target gets it.
const Test Type = "test"

// TestResult is what became of an event of the type Test. Err has what Advice needs.
type TestResult struct {
	Target string
	Err    error // nil: it was accepted
}

// testData is the data of Test.
type testData struct {
	Webhook string `json:"webhook"`
}

// Test sends an event of the type Test to each of the targets that are named and there are,
// to all at once, and calls report with each result as soon as there is one, one at a time.
// Nothing is queued, tried again, counted, or reported to Hooks. It takes ten seconds at
// most.
func (n *Notifier) Test(ctx context.Context, names []string, report func(TestResult)) {
	results := make(chan TestResult)
	var all sync.WaitGroup
	for _, q := range *n.targets.Load() {
		if slices.Contains(names, q.name) {
			all.Go(func() { results <- TestResult{q.name, n.test(ctx, *q.target.Load())} })
		}
	}
	go func() { all.Wait(); close(results) }()
	for r := range results {
		report(r)
	}
}

func (n *Notifier) test(ctx context.Context, t Target) error {
	m, err := newMessage(n.opts.Source, Event{Type: Test, Subject: t.Name, Data: testData{t.Name}})
	if err != nil {
		return err
	}
	return n.attempt(ctx, t, m)
}
