package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestFleetNames finds that what Kubernetes calls a node and a pod will do: a long name, and
// an IPv6 address with or without brackets.
func TestFleetNames(t *testing.T) {
	long := strings.Repeat("node-1.", 36) + "a" // 253 bytes
	for given, want := range map[string]string{
		"10.0.0.7:5003":           "10.0.0.7:5003",
		"[fd00::7]:5003":          "[fd00::7]:5003",
		"fd00::7:5003":            "[fd00::7]:5003",
		"fd00:1:2:3:4:5:6:7:5003": "[fd00:1:2:3:4:5:6:7]:5003",
		"mirror-1:5003":           "mirror-1:5003",
	} {
		cfg, err := load(t, fmt.Sprintf("fleet: {s3: {endpoint: 'http://a', bucket: abc}, secret_file: /s, node: %s, listen: ':5003', advertise: '%s'}\n", long, given), nil)
		if err != nil {
			t.Error(err)
		} else if cfg.Fleet.Advertise != want || cfg.Fleet.Node != long {
			t.Errorf("advertise %s: %s of %s", given, cfg.Fleet.Advertise, cfg.Fleet.Node)
		}
	}
	for _, given := range []string{"fd00::5003", "::5003", "[::]:5003", ":::5003", "10.0.0.7", "a:b:5003"} {
		if cfg, err := load(t, fmt.Sprintf("fleet: {advertise: '%s'}\n", given), nil); err == nil {
			t.Errorf("%s is accepted as %s", given, cfg.Fleet.Advertise)
		}
	}
}
