package images_test

import (
	"strings"
	"testing"

	"mirrord/internal/images"
	"mirrord/internal/oci"
	"mirrord/internal/route"
)

var (
	table = route.NewTable(
		route.Upstream{Name: oci.DockerHub, Aliases: []string{"index.docker.io"}},
		route.Upstream{Name: "quay.io"},
		route.Upstream{Name: "my.registry:5000", Aliases: []string{"corp"}},
	)
	digest = "sha256:" + strings.Repeat("0", 64)
)

// A name means what it means to Docker, and what the mirror's aliases make of it.
func TestParse(t *testing.T) {
	for name, want := range map[string]string{
		"alpine":                              "docker.io/library/alpine:latest",
		"alpine:3.20":                         "docker.io/library/alpine:3.20",
		"library/alpine":                      "docker.io/library/alpine:latest",
		"grafana/grafana:11":                  "docker.io/grafana/grafana:11",
		"docker.io/alpine":                    "docker.io/library/alpine:latest",
		"index.docker.io/library/alpine:3":    "docker.io/library/alpine:3",
		"quay.io/org/app:v1":                  "quay.io/org/app:v1",
		"QUAY.io/app":                         "quay.io/app:latest",
		"my.registry:5000/team/app":           "my.registry:5000/team/app:latest",
		"my.registry:5000/team/app:2":         "my.registry:5000/team/app:2",
		"corp/team/app:2":                     "my.registry:5000/team/app:2",
		"alpine@" + digest:                    "docker.io/library/alpine@" + digest,
		"alpine:3@" + digest:                  "docker.io/library/alpine@" + digest,
		"quay.io/a/b@" + digest:               "quay.io/a/b@" + digest,
		"my.registry:5000/a:latest@" + digest: "my.registry:5000/a@" + digest,
	} {
		if ref, err := images.Parse(name, table); err != nil || ref.String() != want {
			t.Errorf("%s: %v, %v, want %s", name, ref, err, want)
		}
	}
}

func TestParseFails(t *testing.T) {
	for name, want := range map[string]string{
		"":                         "is empty",
		"Alpine":                   "invalid repository name",
		"alpine:":                  "invalid tag",
		"alpine:a b":               "invalid tag",
		"alpine@latest":            "invalid digest",
		"alpine@":                  "invalid digest",
		"alpine@sha256:12":         "invalid digest",
		"docker://alpine":          "leave docker:// out and write alpine",
		"https://quay.io/org/app":  "leave https:// out",
		"ghcr.io/org/app":          `no upstream is named "ghcr.io"`,
		"localhost:5000/app":       "no upstream is named",
		"quay.io":                  "names an upstream but no repository",
		"../etc/passwd":            "invalid repository name",
		"a//b":                     "invalid repository name",
		"alpine\x00":               "invalid repository name",
		strings.Repeat("a/", 1000): "at most 1024",
	} {
		if ref, err := images.Parse(name, table); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", name, ref, err, want)
		}
	}
	alone := route.NewTable(route.Upstream{Name: "quay.io"})
	if ref, err := images.Parse("alpine", alone); err == nil || !strings.Contains(err.Error(), "write the registry before it") {
		t.Errorf("without Docker Hub: %v, %v", ref, err)
	}
}

// Each row is a pattern, and images that it matches or, after a !, does not.
func TestPattern(t *testing.T) {
	for pattern, rows := range map[string][]string{
		"":                          {"alpine", "quay.io/org/app:v1", "alpine@" + digest},
		"**":                        {"alpine", "quay.io/org/app:v1", "alpine@" + digest},
		"alpine":                    {"alpine", "alpine:3", "alpine@" + digest, "!grafana/alpine", "!quay.io/library/alpine", "!alpine2"},
		"*":                         {"alpine", "!grafana/alpine", "!quay.io/app"},
		"nginx:1.*":                 {"nginx:1.27", "!nginx:2.0", "!nginx@" + digest},
		"nginx@" + digest:           {"nginx@" + digest, "!nginx", "!alpine@" + digest},
		"nginx:1@" + digest:         {"nginx@" + digest, "!nginx:1"},
		"grafana/*":                 {"grafana/grafana:11", "!alpine", "!quay.io/grafana/grafana"},
		"docker.io/alpine":          {"alpine"},
		"docker.io/**":              {"alpine", "grafana/grafana", "!quay.io/a"},
		"index.docker.io/library/*": {"alpine:3", "!quay.io/a"},
		"quay.io/**":                {"quay.io/org/app:v1", "quay.io/app", "!alpine"},
		"quay.io/**:v1":             {"quay.io/org/app:v1", "!quay.io/org/app:v2"},
		"corp/**":                   {"my.registry:5000/a/b", "!alpine"},
		"my.registry:5000/**":       {"my.registry:5000/a/b:1", "!alpine"},
		"{quay.io,docker.io}/*/app": {"quay.io/org/app", "org/app", "!org/other"},
		"**:latest":                 {"alpine", "quay.io/a", "!alpine:3"},
	} {
		p, err := images.ParsePattern(pattern, table)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		for _, row := range rows {
			name, not := strings.CutPrefix(row, "!")
			ref, err := images.Parse(name, table)
			if err != nil {
				t.Fatal(err)
			}
			if p.Match(ref) == not {
				t.Errorf("%s (%s): %s: %t", pattern, p, ref, !not)
			}
		}
	}
}

func TestPatternFails(t *testing.T) {
	for pattern, want := range map[string]string{
		"alpine:":         "has no tag after the colon",
		"Alpine":          "lower-case letters",
		"a[":              "is incomplete",
		"/alpine":         "slash",
		"a**":             "next to other characters",
		"alpine@sha256:1": "write a whole digest",
		"docker://**":     "leave docker:// out",
		"{a,b,c}{a,b,c}{a,b,c}{a,b,c}{a,b,c}{a,b,c}": "alternatives",
	} {
		if p, err := images.ParsePattern(pattern, table); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", pattern, p, err, want)
		}
	}
}
