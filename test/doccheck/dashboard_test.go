package doccheck

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type dashboard struct {
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct {
			Name, Type string
			Query      json.RawMessage
			Definition string
		}
	}
}

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct{ Expr string }
	Panels      []panel
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(readFile(t, "dashboards", "mirrord.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDashboardPanels(t *testing.T) {
	d := readDashboard(t)
	if d.SchemaVersion < 39 {
		t.Errorf("schemaVersion is %d", d.SchemaVersion)
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	for _, name := range []string{"datasource", "upstream"} {
		if !slices.Contains(variables, name) {
			t.Errorf("no variable %s", name)
		}
	}
	seen := make(map[int]bool)
	for _, p := range d.Panels {
		if seen[p.ID] || p.ID == 0 {
			t.Errorf("panel %q: id %d is another's, or none", p.Title, p.ID)
		}
		seen[p.ID] = true
		if p.Title == "" {
			t.Errorf("panel %d has no title", p.ID)
		}
		if p.Type == "row" {
			if len(p.Panels) > 0 {
				t.Errorf("row %q is collapsed: its panels are not seen", p.Title)
			}
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q lacks a description, a unit or a query", p.Title)
		}
	}
}

func TestDashboardExpressions(t *testing.T) {
	known := gathered(t)
	d := readDashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			for _, problem := range check(target.Expr, known) {
				t.Errorf("panel %q: %s in %s", p.Title, problem, target.Expr)
			}
		}
	}
	for _, v := range d.Templating.List {
		inner, ok := strings.CutPrefix(v.Definition, "label_values(")
		metric, label, _ := strings.Cut(strings.TrimSuffix(inner, ")"), ", ")
		if ok && (known[metric].kind == "" || !labelled(known, metric, label)) {
			t.Errorf("variable %s: no %s", v.Name, v.Definition)
		}
	}
}

func TestAlertExpressions(t *testing.T) {
	known := gathered(t)
	alerts := 0
	for line := range strings.Lines(section(t, "docs/operations.md", "alerts")) {
		expr, ok := strings.CutPrefix(strings.TrimSpace(line), "expr: ")
		if !ok {
			continue
		}
		alerts++
		for _, problem := range check(expr, known) {
			t.Errorf("%s in %s", problem, expr)
		}
	}
	if alerts == 0 {
		t.Error("no alerts")
	}
}

// An expression is taken apart from the outside in: ranges, groupings, and then
// words, each with its matchers and with what says that it is called.
var (
	rangeRE    = regexp.MustCompile(`\[[^\]]*\]`)
	groupingRE = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	wordRE     = regexp.MustCompile(`\b([a-zA-Z_:][\w:]*)(\{[^}]*\})?(\[\])?\s*(\()?`)
	matcherRE  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"`)

	operators  = []string{"and", "or", "unless"}
	functions  = []string{"sum", "min", "max", "avg", "count", "rate", "increase", "histogram_quantile", "vector", "absent"}
	everywhere = []string{"instance", "job"} // labels that Prometheus adds
)

// check returns what is wrong with an expression: a metric, a label or a
// function that does not exist, a counter without rate or a gauge with it.
func check(expr string, known map[string]metric) (problems []string) {
	if strings.Count(expr, "(") != strings.Count(expr, ")") {
		problems = append(problems, "a parenthesis is missing")
	}
	for _, grouping := range groupingRE.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(grouping[1], ",") {
			if label = strings.TrimSpace(label); label != "le" && !anyLabelled(known, label) {
				problems = append(problems, "no label "+label)
			}
		}
	}
	expr = rangeRE.ReplaceAllString(groupingRE.ReplaceAllString(expr, ""), "[]")
	metrics := 0
	for _, word := range wordRE.FindAllStringSubmatch(expr, -1) {
		name, matchers, ranged, called := word[1], word[2], word[3] != "", word[4] != ""
		switch {
		case called && !slices.Contains(functions, name) && !slices.Contains(operators, name):
			problems = append(problems, "no function "+name)
		case !called && !slices.Contains(operators, name):
			metrics++
			problems = append(problems, checkSelector(base(name, known), matchers, ranged, known)...)
		}
	}
	if metrics == 0 {
		problems = append(problems, "no metric")
	}
	return problems
}

func checkSelector(name, matchers string, ranged bool, known map[string]metric) (problems []string) {
	if name == "up" { // Prometheus has it of every target
		return nil
	}
	m, ok := known[name]
	if !ok {
		return []string{"no metric " + name}
	}
	for _, matcher := range matcherRE.FindAllStringSubmatch(matchers, -1) {
		if !labelled(known, name, matcher[1]) {
			problems = append(problems, name+" has no label "+matcher[1])
		}
	}
	if (m.kind == "gauge") == ranged {
		problems = append(problems, name+" is a "+m.kind+": a gauge is read as it is, all else through rate or increase")
	}
	return problems
}

// base returns the metric that a series belongs to: a histogram has several.
func base(series string, known map[string]metric) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if name, ok := strings.CutSuffix(series, suffix); ok && known[name].kind == "histogram" {
			return name
		}
	}
	return series
}

func labelled(known map[string]metric, name, label string) bool {
	return slices.Contains(known[name].labels, label) || slices.Contains(everywhere, label)
}

func anyLabelled(known map[string]metric, label string) bool {
	for name := range known {
		if labelled(known, name, label) {
			return true
		}
	}
	return false
}

// The check finds what it is for.
func TestCheck(t *testing.T) {
	known := map[string]metric{"a_total": {"counter", []string{"via"}}, "b": {"gauge", nil}, "h": {"histogram", nil}}
	for expr, wrong := range map[string]bool{
		`sum by (via) (rate(a_total{via=~"x|y", instance="i"}[5m])) / max(b)`: false,
		`histogram_quantile(0.99, sum by (le) (rate(h_bucket[5m])))`:          false,
		`rate(b[5m])`:                         true,
		`a_total`:                             true,
		`sum(c)`:                              true,
		`sum by (status) (rate(a_total[5m]))`: true,
		`rate(a_total{kind="x"}[5m])`:         true,
		`rat(a_total[5m])`:                    true,
		`sum(rate(a_total[5m])`:               true,
		`1`:                                   true,
	} {
		if problems := check(expr, known); len(problems) > 0 != wrong {
			t.Errorf("%s: %q", expr, problems)
		}
	}
}
