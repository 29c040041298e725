package doccheck

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// rule is a rule of Prometheus: it has an alert or a record.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

// rules returns the rules of a file in dashboards.
func rules(t *testing.T, name string) (all []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(readFile(t, "dashboards", name)), &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no rules", name)
	}
	return all
}

func recordedNames(t *testing.T) (names []string) {
	for _, r := range rules(t, "recording.yml") {
		names = append(names, r.Record)
	}
	return names
}

func TestRuleExpressions(t *testing.T) {
	known, recorded := gathered(t), recordedNames(t)
	for _, file := range []string{"alerts.yml", "recording.yml"} {
		for _, r := range rules(t, file) {
			for _, problem := range check(r.Expr, known, recorded) {
				t.Errorf("%s, %s%s: %s in %s", file, r.Alert, r.Record, problem, r.Expr)
			}
		}
	}
}

// runbooks is where the links of alerts lead: docs/troubleshooting.md, on a server that a
// person puts in.
const runbooks = "https://mirrord.example.org/docs/troubleshooting.md#"

// Every alert has a severity, a summary, and a link to its entry in the runbook, and the
// runbook has no entry for anything else.
func TestRunbooks(t *testing.T) {
	page := readFile(t, filepath.Join("docs", "troubleshooting.md"))
	entries := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		if strings.HasPrefix(m[1], "Mirrord") {
			entries[m[1]] = true
		}
	}
	for _, r := range rules(t, "alerts.yml") {
		if s := r.Labels["severity"]; s != "critical" && s != "warning" || r.Annotations["summary"] == "" {
			t.Errorf("%s has severity %q and summary %q", r.Alert, s, r.Annotations["summary"])
		}
		if link := r.Annotations["runbook_url"]; link != runbooks+strings.ToLower(r.Alert) {
			t.Errorf("%s links to %s", r.Alert, link)
		}
		entry, _, _ := strings.Cut(page[max(0, strings.Index(page, "### "+r.Alert+"\n")):], "\n###")
		if !entries[r.Alert] || !strings.Contains(entry, "\n- Check: ") || !strings.Contains(entry, "\n- Do: ") {
			t.Errorf("docs/troubleshooting.md does not say what to check and to do about %s", r.Alert)
		}
		delete(entries, r.Alert)
	}
	for entry := range entries {
		t.Errorf("docs/troubleshooting.md has an entry for %s, which is no alert", entry)
	}
}

// Every alert has a case in which it fires, and one in which it does not.
func TestAlertCases(t *testing.T) {
	var file struct {
		Tests []struct {
			Cases []struct {
				Name   string `yaml:"alertname"`
				Alerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "dashboards", "alerts_test.yml")), &file); err != nil {
		t.Fatal(err)
	}
	fires, silent := make(map[string]bool), make(map[string]bool)
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			if len(c.Alerts) > 0 {
				fires[c.Name] = true
			} else {
				silent[c.Name] = true
			}
		}
	}
	for _, r := range rules(t, "alerts.yml") {
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("alerts_test.yml has no case in which %s fires, or none in which it does not", r.Alert)
		}
	}
}
