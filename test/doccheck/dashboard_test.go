package doccheck

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboards are the files, whose form is held by the module that generates them.
var dashboards = []string{"mirrord-overview.json", "mirrord-upstreams.json"}

type dashboard struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func TestDashboardExpressions(t *testing.T) {
	known, recorded := gathered(t), recordedNames(t)
	for _, name := range dashboards {
		var d dashboard
		if err := json.Unmarshal([]byte(readFile(t, "dashboards", name)), &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				for _, problem := range check(target.Expr, known, recorded) {
					t.Errorf("%s, panel %q: %s in %s", name, p.Title, problem, target.Expr)
				}
			}
		}
		for _, v := range d.Templating.List {
			inner, ok := strings.CutPrefix(v.Definition, "label_values(")
			if !ok {
				continue
			}
			comma := strings.LastIndex(inner, ", ")
			metric, _, _ := strings.Cut(inner[:comma], "{")
			if label := strings.TrimSuffix(inner[comma+2:], ")"); known[metric].kind == "" || !labelled(known, metric, label) {
				t.Errorf("%s, variable %s: no %s", name, v.Name, v.Definition)
			}
		}
	}
}

// An expression is taken apart from the outside in: ranges, groupings, and then
// words, each with its matchers and with what says that it is called.
var (
	rangeRE    = regexp.MustCompile(`\[[^\]]*\]`)
	groupingRE = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	wordRE     = regexp.MustCompile(`\b([a-zA-Z_:][\w:]*)(\{[^}]*\})?(\[\])?\s*(\()?`)
	matcherRE  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"`)

	textRE     = regexp.MustCompile(`, "[^"]*"`) // of label_replace
	overTimeRE = regexp.MustCompile(`\b(?:changes|delta|m(?:ax|in)_over_time)\((\w+(?:\{[^}]*\})?)\[\]\)`)

	operators  = []string{"and", "or", "unless"}
	functions  = []string{"sum", "min", "max", "avg", "count", "rate", "increase", "histogram_quantile", "vector", "absent", "clamp_min", "clamp_max", "label_replace", "time"}
	everywhere = []string{"alertname", "instance", "job"} // labels that Prometheus adds
)

// check returns what is wrong with an expression: a metric, a label or a
// function that does not exist, a counter without rate or a gauge with it. The names
// recorded are those of recording rules.
func check(expr string, known map[string]metric, recorded []string) (problems []string) {
	if strings.Count(expr, "(") != strings.Count(expr, ")") {
		problems = append(problems, "a parenthesis is missing")
	}
	for _, grouping := range groupingRE.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(grouping[1], ",") {
			if label = strings.TrimSpace(label); label != "" && label != "le" && !anyLabelled(known, label) {
				problems = append(problems, "no label "+label)
			}
		}
	}
	expr = rangeRE.ReplaceAllString(groupingRE.ReplaceAllString(expr, ""), "[]")
	expr = overTimeRE.ReplaceAllString(textRE.ReplaceAllString(expr, ""), "$1")
	metrics := 0
	for _, word := range wordRE.FindAllStringSubmatch(expr, -1) {
		name, matchers, ranged, called := word[1], word[2], word[3] != "", word[4] != ""
		switch {
		case called && !slices.Contains(functions, name) && !slices.Contains(operators, name):
			problems = append(problems, "no function "+name)
		case slices.Contains(recorded, name):
			metrics++
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
	if name == "up" || name == "ALERTS" { // Prometheus has them
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
		`level:a:rate1h / clamp_min(max(b), 1) or on () label_replace(vector(0), "via", "c", "", "")`: false,
		`changes(b{instance="i"}[1h])`: false,
		`level:b:rate1h`:               true,
	} {
		if problems := check(expr, known, []string{"level:a:rate1h"}); len(problems) > 0 != wrong {
			t.Errorf("%s: %q", expr, problems)
		}
	}
}
