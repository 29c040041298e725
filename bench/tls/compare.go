package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"text/tabwriter"
	"time"
)

// kind is one kind of measurement.
type kind struct {
	name  string
	scale float64                                  // of seconds
	run   func(*server) (units float64, err error) // loads the server
}

// settle is how long a server may work on after the client has what it wants.
const settle = 200 * time.Millisecond

// cost returns the CPU time of one unit.
func (k kind) cost(s *server) (float64, error) {
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	units, err := k.run(s)
	if err != nil {
		return 0, fmt.Errorf("%s: %s: %w", s.name, k.name, err)
	}
	time.Sleep(settle)
	after, err := s.cpu()
	return k.scale * (after - before) / units, err
}

// compare measures pairs and prints the medians.
func compare(o options, c client, servers ...*server) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "CPU time\tmirrord\tnginx\tratio\tpairs")
	wanted, err := regexp.Compile(o.run)
	if err != nil {
		return err
	}
	for _, k := range kinds(o, c) {
		if !wanted.MatchString(k.name) {
			continue
		}
		costs := make([][]float64, len(servers))
		pairs := ""
		for n := range o.pairs + 1 {
			for i, s := range servers {
				cost, err := k.cost(s)
				if err != nil {
					return err
				}
				if n > 0 { // the first fills caches
					costs[i] = append(costs[i], cost)
				}
			}
			if n > 0 {
				pairs += fmt.Sprintf(" %.0f/%.0f", costs[0][n-1], costs[1][n-1])
			}
		}
		own, other := median(costs[0]), median(costs[1])
		_, _ = fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.2f\t%s\n", k.name, own, other, own/other, pairs)
	}
	return table.Flush()
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
