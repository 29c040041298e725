// Package doccheck holds what is written beside the code against the code: the
// README, the dashboard, the systemd unit and the import rules.
package doccheck

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/config"
)

// root is the module's, seen from here, where tests run.
var root = filepath.Join("..", "..")

func readFile(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// section returns what stands between <!-- name --> and <!-- /name --> in a
// document.
func section(t *testing.T, document, name string) string {
	t.Helper()
	_, after, begun := strings.Cut(readFile(t, document), "<!-- "+name+" -->\n")
	text, _, ended := strings.Cut(after, "<!-- /"+name+" -->")
	if !begun || !ended {
		t.Fatalf("%s has no section <!-- %s --> … <!-- /%[2]s -->", document, name)
	}
	return text
}

const (
	configuration = "docs/configuration.md"
	metricsPage   = "docs/metrics.md"
)

func TestConfigTable(t *testing.T) {
	if diff := cmp.Diff(config.Table(), section(t, configuration, "config-table")); diff != "" {
		t.Errorf("the table of settings is not the code's (-code +docs):\n%s", diff)
	}
}

func TestKnownTable(t *testing.T) {
	if diff := cmp.Diff(config.KnownTable(), section(t, configuration, "known-table")); diff != "" {
		t.Errorf("the table of registries is not the code's (-code +docs):\n%s", diff)
	}
}

// Every key of an upstream is in the table, and nothing else.
func TestUpstreamTable(t *testing.T) {
	var documented []string
	for row := range strings.Lines(section(t, configuration, "upstream-table")) {
		first, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		for i, part := range strings.Split(first, "`") {
			if i%2 == 1 {
				documented = append(documented, part)
			}
		}
	}
	if diff := cmp.Diff(config.UpstreamKeys(), documented); diff != "" {
		t.Errorf("the keys of an upstream are not the code's (-code +docs):\n%s", diff)
	}
}

// Every example of a configuration is one that mirrord takes.
func TestConfigExamples(t *testing.T) {
	for _, page := range pages(t) {
		for _, block := range strings.Split(readFile(t, page), "```yaml\n")[1:] {
			example, _, _ := strings.Cut(block, "```")
			if strings.Contains(example, "upstreams:\n") {
				loadExample(t, example)
			}
		}
	}
}

// The sample is a file that mirrord takes.
func TestConfigSample(t *testing.T) { loadSample(t) }

func loadSample(t *testing.T) *config.Config {
	t.Helper()
	_, after, _ := strings.Cut(section(t, configuration, "config-sample"), "```yaml\n")
	sample, _, ok := strings.Cut(after, "```")
	if !ok {
		t.Fatal("the section has no ```yaml block")
	}
	return loadExample(t, sample)
}

func loadExample(t *testing.T, example string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mirrord.yaml")
	if err := os.WriteFile(path, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadFile(path)
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, example)
	}
	return cfg
}
