package doccheck

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"mirrord/internal/admin"
)

// Every route of the admin API is in its description, and nothing else is.
func TestAdminAPI(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "docs", "admin-api.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var described struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(raw, &described); err != nil {
		t.Fatal(err)
	}
	var got []string
	for path, methods := range described.Paths {
		for method := range methods {
			got = append(got, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(admin.Routes(), got); diff != "" {
		t.Errorf("docs/admin-api.yaml (-handlers +described):\n%s", diff)
	}
}
