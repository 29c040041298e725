package main

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// levels are what a process holds.
type levels struct{ goroutines, files, heap, resident float64 }

func (l levels) String() string {
	return fmt.Sprintf("%.0f goroutines, %.0f files, %.1f MiB of heap, %.0f MiB resident", l.goroutines, l.files, l.heap/(1<<20), l.resident/(1<<20))
}

const (
	settled = 10 // looks in a row that find nothing changed

	// The request for the levels has goroutines of its own, and the garbage collector
	// leaves a varying amount. The runtime holds on to a part of the peak memory, and
	// the race detector to all of its own.
	goroutinesMore = 5
	heapMore       = 4 << 20
)

// levels collects the garbage first. Tables of the index do not count as files:
// there are more of them the more it has been told.
func (p *process) levels(t *testing.T) levels {
	t.Helper()
	_, _, err := p.ask("/debug/pprof/heap?gc=1")
	check(t, err)
	m := p.metrics(t)
	tables, err := filepath.Glob(filepath.Join(p.cache, "index", "*.sst"))
	check(t, err)
	return levels{m["go_goroutines"], m["process_open_fds"] - float64(len(tables)), m["go_memstats_heap_alloc_bytes"], m["process_resident_memory_bytes"]}
}

// metrics reads what Prometheus would: the values by series, with labels.
func (p *process) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	_, text, err := p.ask("/metrics")
	check(t, err)
	metrics := make(map[string]float64)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		end := strings.LastIndexByte(line, ' ')
		metrics[line[:end]], err = strconv.ParseFloat(strings.TrimSpace(line[end:]), 64)
		check(t, err)
	}
	return metrics
}

// settle returns the levels when they have stopped changing.
func (p *process) settle(t *testing.T) levels {
	t.Helper()
	var now levels
	same := 0
	check(t, p.poll("levels that stay", func() bool {
		before := now
		now = p.levels(t)
		same++
		if math.Abs(now.goroutines-before.goroutines) > goroutinesMore || now.files != before.files {
			same = 0
		}
		return same == settled
	}))
	return now
}

// awaitLevels waits until the process holds what it did before.
// So many times as much memory may be resident: of what was needed at the worst
// moment the runtime keeps a part, and the race detector all of its own.
func (p *process) awaitLevels(t *testing.T, before levels, resident float64) {
	t.Helper()
	var now levels
	defer func() { t.Logf("before: %v; after: %v", before, now) }()
	check(t, p.poll("the levels of before", func() bool {
		now = p.levels(t)
		return now.goroutines <= before.goroutines+goroutinesMore && now.files <= before.files &&
			now.heap <= before.heap+heapMore && now.resident <= resident*before.resident
	}))
}
