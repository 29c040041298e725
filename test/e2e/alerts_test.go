//go:build e2e

package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// promtool runs promtool of Prometheus in dir.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	command := exec.Command("promtool", args...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// The alerts fire when they should, and only then; the configuration loads them.
func TestAlerts(t *testing.T) {
	dir := filepath.Join("..", "..", "dashboards")
	promtool(t, dir, "check", "rules", "alerts.yml", "recording.yml")
	promtool(t, dir, "check", "config", "prometheus.yml")
	promtool(t, dir, "test", "rules", "alerts_test.yml")
}
