package faultmatrix

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// row is a fault and its outcome in the situations.
type row struct {
	fault  string
	inject fault
	// want has a line for each situation whose outcome differs from that without a
	// fault: what the client sees; what is cached afterwards ("previous": another
	// manifest, "partial": an unfinished fill); the requests to the upstream; and the
	// maximum time until the client had the header of its response.
	want string
}

// unharmed is the outcome without a fault.
const unharmed = `
	cold blob    | 200 fill        | cached | token blob cdn | 1s
	warm blob    | 200 hit         | cached | -              | 0s
	fresh tag    | 200 hit         | cached | -              | 0s
	expired tag  | 200 revalidated | cached | token HEAD     | 1s
	moved tag    | 200 fill        | cached | token HEAD GET | 1s
	uncached tag | 200 fill        | cached | token HEAD GET | 1s`

// harmless is the outcome of a fault that makes no difference.
const harmless = ""

// TestFaults tests every fault in every situation.
func TestFaults(t *testing.T) {
	noFault := []row{{"no fault", inject(), unharmed}}
	run(t, withoutTLS, slices.Concat(noFault, networkFaults, bodyFaults, responseFaults, headRows(), storageFaults, tokenFaults, limitFaults))
}

func TestFaultsOverTLS(t *testing.T) {
	run(t, newCertificates, tlsFaults)
}

func run(t *testing.T, certified func(*testing.T) *certificates, rows []row) {
	t.Helper()
	withoutFault := parse(t, unharmed)
	for _, r := range rows {
		t.Run(r.fault, func(t *testing.T) {
			t.Parallel()
			want, certs := parse(t, r.want), certified(t)
			for _, s := range situations {
				t.Run(s.name, func(t *testing.T) {
					expected, listed := want[s.name]
					if !listed {
						expected = withoutFault[s.name]
					}
					got := try(t, r.inject, s, certs)
					if got.head <= expected.head {
						got.head = expected.head
					}
					if got != expected {
						t.Errorf("got\n\t%s | %s\nwant\n\t%s | %s", s.name, got, s.name, expected)
					}
				})
			}
		})
	}
}

// parse reads the lines of a row, by situation.
func parse(t *testing.T, lines string) map[string]seen {
	t.Helper()
	cells := make(map[string]seen)
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		parts := strings.Split(line, "|")
		if len(parts) != 5 {
			t.Fatalf("want five columns: %q", line)
		}
		for i, part := range parts {
			parts[i] = strings.TrimSpace(part)
		}
		head, err := time.ParseDuration(parts[4])
		check(t, err)
		name := parts[0]
		if !slices.ContainsFunc(situations, func(s situation) bool { return s.name == name }) {
			t.Fatalf("there is no situation %q", name)
		}
		cells[name] = seen{client: parts[1], cached: parts[2], upstream: parts[3], head: head}
	}
	return cells
}
