package faultmatrix

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// row is a fault and what comes of it.
type row struct {
	fault  string
	strike fault
	// want has a line for each situation that is not as without a fault: what
	// the client sees; whether the cache has the content after ("older": another
	// manifest, "part": an unfinished fill); what the upstream was asked; and
	// after how much time at most the client had the head of its answer.
	want string
}

// unharmed is what comes of no fault.
const unharmed = `
	cold blob    | 200 fill        | kept | token blob cdn | 1s
	warm blob    | 200 hit         | kept | -              | 0s
	fresh tag    | 200 hit         | kept | -              | 0s
	expired tag  | 200 revalidated | kept | token HEAD     | 1s
	moved tag    | 200 fill        | kept | token HEAD GET | 1s
	uncached tag | 200 fill        | kept | token HEAD GET | 1s`

// harmless is what comes of a fault that makes no difference.
const harmless = ""

// TestFaults holds every row against every situation.
func TestFaults(t *testing.T) {
	noFault := []row{{"no fault", inject(), unharmed}}
	run(t, withoutTLS, slices.Concat(noFault, networkFaults, bodyFaults, answerFaults, headRows(), storageFaults, tokenFaults, limitFaults))
}

func TestFaultsOverTLS(t *testing.T) {
	run(t, newCertificates, tlsFaults)
}

func run(t *testing.T, certified func(*testing.T) *certificates, rows []row) {
	t.Helper()
	asEver := parse(t, unharmed)
	for _, r := range rows {
		t.Run(r.fault, func(t *testing.T) {
			t.Parallel()
			want, certs := parse(t, r.want), certified(t)
			for _, s := range situations {
				t.Run(s.name, func(t *testing.T) {
					expected, told := want[s.name]
					if !told {
						expected = asEver[s.name]
					}
					saw := try(t, r.strike, s, certs)
					if saw.head <= expected.head {
						saw.head = expected.head
					}
					if saw != expected {
						t.Errorf("saw\n\t%s | %s\nwant\n\t%s | %s", s.name, saw, s.name, expected)
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
			t.Fatalf("no five columns: %q", line)
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
		cells[name] = seen{client: parts[1], kept: parts[2], upstream: parts[3], head: head}
	}
	return cells
}
