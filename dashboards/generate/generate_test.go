package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// The files are what this program makes, and nothing else is beside them.
func TestFiles(t *testing.T) {
	for name, b := range files {
		want, err := b.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, got) {
			t.Errorf("dashboards/%s is not what the generator makes: run make dashboards", name)
		}
	}
	found, err := filepath.Glob(filepath.Join("..", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != len(files) {
		t.Errorf("dashboards has %q, the generator makes %q", found, slices.Sorted(maps.Keys(files)))
	}
}

// The files hold to the schema: there is no field that it does not know, and none of the
// wrong type.
func TestSchema(t *testing.T) {
	for name := range files {
		data, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if complaint := againstSchema(data); complaint != "" {
			t.Errorf("%s: %s", name, complaint)
		}
		for _, wrong := range [][2]string{{`"gridPos"`, `"gridPosition"`}, {`"refresh": "1m"`, `"refresh": 60`}} {
			if againstSchema(bytes.Replace(data, []byte(wrong[0]), []byte(wrong[1]), 1)) == "" {
				t.Errorf("%s: %s is not found", name, wrong[1])
			}
		}
	}
}

// againstSchema returns what is wrong with a dashboard. The SDK returns an error also
// if there is none: then it has no text.
func againstSchema(data []byte) string {
	var d dashboard.Dashboard
	if err := d.UnmarshalJSONStrict(data); err != nil {
		return err.Error()
	}
	return ""
}

// Every panel has a unit, a description and a data source that the person chooses, and
// the panels of a row fill it without overlapping.
func TestPanels(t *testing.T) {
	for name, b := range files {
		built, err := b.build()
		if err != nil {
			t.Fatal(err)
		}
		titles, taken := make(map[string]bool), make(map[[2]uint32]bool)
		for _, element := range built.Panels {
			p := element.Panel
			if p == nil {
				continue
			}
			titled, place := *p.Title+" in "+p.Type, [2]uint32{p.GridPos.X, p.GridPos.Y}
			if titles[titled] || taken[place] || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: panel %q is at %v, where another is or nothing fits, or has the title of another", name, *p.Title, place)
			}
			titles[titled], taken[place] = true, true
			for _, problem := range problems(t, *p) {
				t.Errorf("%s: panel %q: %s", name, *p.Title, problem)
			}
		}
		if len(titles) == 0 {
			t.Errorf("%s has no panels", name)
		}
	}
}

// problems returns what a panel lacks.
func problems(t *testing.T, p dashboard.Panel) (all []string) {
	t.Helper()
	if p.Description == nil || !strings.HasSuffix(*p.Description, ".") {
		all = append(all, "no description")
	}
	if p.FieldConfig == nil || p.FieldConfig.Defaults.Unit == nil || *p.FieldConfig.Defaults.Unit == "" {
		all = append(all, "no unit")
	}
	if p.Datasource == nil || p.Datasource.Uid == nil || *p.Datasource.Uid != "${datasource}" {
		all = append(all, "its data source is not the variable")
	}
	if len(p.Targets) == 0 {
		all = append(all, "no query")
	}
	for _, target := range p.Targets {
		data, err := json.Marshal(target)
		if err != nil {
			t.Fatal(err)
		}
		var query struct{ Expr, LegendFormat string }
		if err := json.Unmarshal(data, &query); err != nil {
			t.Fatal(err)
		}
		if query.LegendFormat == "" || !strings.Contains(query.Expr, `job=~"$job", instance=~"$instance"`) && !strings.Contains(query.Expr, "ALERTS") {
			all = append(all, "a query without a name, or for all mirrors: "+query.Expr)
		}
		if !strings.Contains(string(data), `"uid":"${datasource}"`) {
			all = append(all, "the data source of a query is not the variable")
		}
	}
	return all
}

// The checks find what they are for.
func TestProblems(t *testing.T) {
	bare := figure("bare", "", "", []level{{"green", 0}}, query{"up", ""})
	built, err := bare.build(1).Build()
	if err != nil {
		t.Fatal(err)
	}
	if got := problems(t, built); len(got) != 3 {
		t.Errorf("%q", got)
	}
}
