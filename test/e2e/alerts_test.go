//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The documented alerts fire when they should, and only then.
func TestAlerts(t *testing.T) {
	_, rules, begun := strings.Cut(string(readFile(t, "..", "..", "docs", "operations.md")), "<!-- alerts -->\n```yaml\n")
	rules, _, ended := strings.Cut(rules, "```\n<!-- /alerts -->")
	if !begun || !ended {
		t.Fatal("docs/operations.md has no alerts")
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "rules.yaml"), []byte(rules))
	writeFile(t, filepath.Join(dir, "alerts.yaml"), readFile(t, "testdata", "alerts.yaml"))
	promtool(t, dir, "check", "rules", "rules.yaml")
	promtool(t, dir, "test", "rules", "alerts.yaml")
}

// No panel of the dashboard shows NaN for a mirror without requests, and the
// description of an empty one says why.
func TestDashboardOfIdleMirror(t *testing.T) {
	m := startMirror(t, startHub(t))
	var d struct {
		Panels []struct {
			Title       string
			FieldConfig struct{ Defaults struct{ NoValue string } }
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(readFile(t, "..", "..", "dashboards", "mirrord.json"), &d); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*", "$upstream", ".*")
	tests := map[string]any{"name": "idle", "interval": "1m", "input_series": m.series(t)}
	var cases []any
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			expr := variables.Replace(target.Expr)
			cases = append(cases, counts(fmt.Sprintf("(%s) != (%[1]s)", expr), false))
			if p.FieldConfig.Defaults.NoValue == "" {
				cases = append(cases, counts(expr, true))
			}
		}
	}
	tests["promql_expr_test"] = cases
	dir := t.TempDir()
	data, err := json.Marshal(map[string]any{"evaluation_interval": "1m", "tests": []any{tests}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "panels.yaml"), data) // JSON is YAML
	promtool(t, dir, "test", "rules", "panels.yaml")
}

// counts returns a promtool test that expr has values, or that it has none.
func counts(expr string, some bool) map[string]any {
	want := 0
	if some {
		want = 1
	}
	return map[string]any{
		"expr":        fmt.Sprintf("(count(%s) or vector(0)) > bool 0", expr),
		"eval_time":   "10m",
		"exp_samples": []any{map[string]any{"labels": "{}", "value": want}},
	}
}

// series returns the current metrics of the mirror, constant for some minutes.
func (m *mirror) series(t *testing.T) (all []any) {
	t.Helper()
	metrics := m.metrics(t)
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		labelled := name + `{job="mirrord", instance="a"}`
		if metric, labels, ok := strings.Cut(strings.TrimSuffix(name, "}"), "{"); ok {
			labelled = fmt.Sprintf(`%s{job="mirrord", instance="a", %s}`, metric, labels)
		}
		all = append(all, map[string]any{"series": labelled, "values": fmt.Sprintf("%gx20", metrics[name])})
	}
	return all
}
