package doctor

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mirrord/internal/fleet/fleetprobe"
)

func TestFleet(t *testing.T) {
	full := fleetprobe.Capabilities{Conditions: true, SecretOK: true, Ages: true, Touch: true}
	lax := full
	lax.Conditions = false
	lack := fmt.Errorf("%w: two at once", fleetprobe.ErrConditions)
	for name, test := range map[string]struct {
		state  fleetprobe.State
		leases bool
		want   string // the states and names of the checks
		words  string
	}{
		"full":            {fleetprobe.State{Capabilities: full, Basics: true, Done: true}, true, "ok fleet store", "can be written"},
		"being probed":    {fleetprobe.State{}, true, "info fleet store", "ten seconds"},
		"fails":           {fleetprobe.State{Failure: errors.New("access denied")}, true, "fail fleet store", "access denied"},
		"no conditions":   {fleetprobe.State{Capabilities: lax, Basics: true, Done: true, Lack: lack}, true, "warn fleet store", "two at once"},
		"none are wanted": {fleetprobe.State{Capabilities: lax, Basics: true, Done: true, Lack: lack}, false, "ok fleet store", ""},
		"wrong secret":    {fleetprobe.State{Capabilities: full, Basics: true, Done: true, Secret: fleetprobe.ErrSecret}, true, "fail fleet secret", "secret_file"},
		"no ages, no touch": {
			fleetprobe.State{Capabilities: fleetprobe.Capabilities{Conditions: true}, Basics: true, Done: true}, true,
			"warn fleet store warn fleet store", "NTP",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got, text []string
			for _, c := range Fleet(test.state, test.leases) {
				got = append(got, string(c.State), c.Name)
				text = append(text, c.Detail, c.Hint)
				if (c.State == OK) != (c.Hint == "") {
					t.Errorf("%+v", c)
				}
			}
			if strings.Join(got, " ") != test.want || !strings.Contains(strings.Join(text, " "), test.words) {
				t.Errorf("%q %q, want %q with %q", got, text, test.want, test.words)
			}
		})
	}
}
