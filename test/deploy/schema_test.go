package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yannh/kubeconform/pkg/validator"
)

// The module that has the OpenAPI documents of Kubernetes, and its checksum. It is
// downloaded by itself: as a requirement it would bring all that Kubernetes is made of.
const (
	kubernetes    = "k8s.io/kubernetes@v1.36.3"
	kubernetesSum = "h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o="
)

// TestSchemas validates the manifests as kubeconform -strict does.
func TestSchemas(t *testing.T) {
	check := conforming(t)
	eachOverlay(t, func(t *testing.T, m manifests) {
		for _, problem := range check(t, m.text) {
			t.Error(problem)
		}
	})
}

// TestSchemasRefuse is for what the schemas must find.
func TestSchemasRefuse(t *testing.T) {
	check := conforming(t)
	m := build(t, map[string]string{"kustomization.yaml": overlays["base"]})
	for what, change := range map[string][2]string{
		"unknown key":   {"strategy:", "strategies:"},
		"wrong type":    {"replicas: 1", "replicas: one"},
		"missing key":   {"containerPort: 5000", "protocol: TCP"},
		"unknown value": {"name: cache", "name: cache\n          subPath: [a]"},
		"unknown kind":  {"kind: Service\n", "kind: Servlet\n"},
	} {
		text := strings.Replace(string(m.text), change[0], change[1], 1)
		if text == string(m.text) {
			t.Errorf("%s: the manifests have no %q", what, change[0])
		} else if len(check(t, []byte(text))) == 0 {
			t.Errorf("%s: %q is valid", what, change[1])
		}
	}
}

// conforming returns a function that returns what is wrong in manifests. The ServiceMonitor
// is not asked: build holds it against its Go type.
func conforming(t *testing.T) func(t *testing.T, manifests []byte) []string {
	t.Helper()
	location := filepath.Join(writeSchemas(t), "{{.ResourceKind}}{{.KindSuffix}}.json")
	v, err := validator.New([]string{location}, validator.Opts{Strict: true, SkipKinds: map[string]struct{}{"ServiceMonitor": {}}})
	check(t, err)
	return func(t *testing.T, manifests []byte) (problems []string) {
		for _, r := range v.Validate("manifests", io.NopCloser(bytes.NewReader(manifests))) {
			if r.Status != validator.Valid && r.Status != validator.Skipped {
				problems = append(problems, fmt.Sprintf("%v in\n%s", r.Err, r.Resource.Bytes))
			}
		}
		return problems
	}
}

// openAPI is a document of Kubernetes: the kinds of a group, and what they refer to.
type openAPI struct {
	Components struct {
		Schemas map[string]map[string]any `json:"schemas"`
	} `json:"components"`
}

// writeSchemas writes a JSON schema for each kind into a directory, named as
// kubeconform wants it.
func writeSchemas(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, group := range []string{"api__v1", "apis__apps__v1", "apis__networking.k8s.io__v1", "apis__policy__v1"} {
		text, err := os.ReadFile(filepath.Join(openAPIDir(t), group+"_openapi.json"))
		check(t, err)
		var document openAPI
		decode(t, text, &document)
		for _, schema := range document.Components.Schemas {
			forbidOthers(schema)
		}
		for name, schema := range document.Components.Schemas {
			for _, file := range kindFiles(schema) {
				text, err := json.Marshal(map[string]any{"$ref": "#/components/schemas/" + name, "components": document.Components})
				check(t, err)
				check(t, os.WriteFile(filepath.Join(dir, file), text, 0o644))
			}
		}
	}
	return dir
}

// kindFiles returns the names of the schema of a kind; there is none for other types.
func kindFiles(schema map[string]any) (names []string) {
	kinds, _ := schema["x-kubernetes-group-version-kind"].([]any)
	if len(kinds) != 1 { // such as DeleteOptions
		return nil
	}
	kind := kinds[0].(map[string]any)
	suffix := "-" + kind["version"].(string)
	if group := kind["group"].(string); group != "" {
		suffix = "-" + strings.Split(group, ".")[0] + suffix
	}
	return []string{strings.ToLower(kind["kind"].(string) + suffix + ".json")}
}

// forbidOthers makes keys that an object does not have errors.
func forbidOthers(schema map[string]any) {
	if _, ok := schema["properties"]; ok && schema["additionalProperties"] == nil {
		schema["additionalProperties"] = false
	}
}

// openAPIDir returns the directory of the documents.
func openAPIDir(t *testing.T) string {
	t.Helper()
	command := exec.Command("go", "mod", "download", "-json", kubernetes)
	command.Dir = t.TempDir() // as of no module
	out, err := command.Output()
	var module struct{ Dir, Sum, Error string }
	decode(t, out, &module)
	if err != nil || module.Error != "" {
		t.Fatalf("download %s: %v %s", kubernetes, err, module.Error)
	}
	if module.Sum != kubernetesSum {
		t.Fatalf("%s has the checksum %s, want %s", kubernetes, module.Sum, kubernetesSum)
	}
	return filepath.Join(module.Dir, "api/openapi-spec/v3")
}
