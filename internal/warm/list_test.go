package warm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func environment(name string) (string, bool) {
	value, ok := map[string]string{"TAG": "v2", "EMPTY": ""}[name]
	return value, ok
}

func names(all ...string) (images []Image) {
	for _, name := range all {
		images = append(images, Image{Name: name})
	}
	return images
}

// Each kind of list is known by its content.
func TestParseList(t *testing.T) {
	for name, test := range map[string]struct {
		text    string
		want    []Image
		skipped []string
	}{
		"lines":     {"# base images\nalpine:3\r\n\n  ghcr.io/org/app@sha256:aa # pinned\nalpine:3\n", names("alpine:3", "ghcr.io/org/app@sha256:aa"), nil},
		"YAML list": {"- alpine:3\n- 'nginx'\n", names("alpine:3", "nginx"), nil},
		"skopeo": {`docker.io:
  images:
    busybox: []
    redis: ["1.0", 7, "sha256:00"]
  images-by-tag-regex:
    nginx: ^1\.13\.[12]-alpine-perl$
  images-by-semver:
    alpine: ">= 3.12.0"
  credentials: {username: john, password: secret}
  tls-verify: true
quay.io:
  images: {coreos/etcd: [latest]}
`, []Image{
			{Name: "docker.io/busybox", Tags: "."}, {Name: "docker.io/redis:1.0"}, {Name: "docker.io/redis:7"}, {Name: "docker.io/redis@sha256:00"},
			{Name: "docker.io/nginx", Tags: `^1\.13\.[12]-alpine-perl$`},
			{Name: "docker.io/alpine", Versions: ">= 3.12.0"},
			{Name: "quay.io/coreos/etcd:latest"},
		}, nil},
		"compose": {`x-base: &base {image: "app:${TAG}"}
services:
  web: {<<: *base}
  db: {image: "postgres:${PG:-16}"}
  empty: {image: "a:${EMPTY:-1}"}
  dash: {image: "b:${EMPTY-1}c"}
  plus: {image: "c${TAG:+:x}"}
  built: {image: "mine:1", build: .}
  only: {build: .}
  unknown: {image: "d:${NOWHERE}"}
  needed: {image: "e:${NOWHERE:?set it}"}
  nested: {image: "f:${A:-${B:-1}}"}
`, names("app:v2", "postgres:16", "a:1", "b:c", "c:x"), []string{
			"f:8 service built is built, not pulled",
			"f:10 d:${NOWHERE} needs the variable NOWHERE, which is not set and has no default",
			"f:11 e:${NOWHERE:?set it} needs the variable NOWHERE, which is not set and has no default",
			"f:12 f:${A:-${B:-1}} needs the variable {A:-1}, which is not set and has no default",
		}},
		"kubernetes": {`apiVersion: v1
kind: Pod
spec:
  initContainers: [{name: i, image: "init:1"}]
  containers:
  - name: c
    image: main:1
  ephemeralContainers: [{image: "debug:1"}]
  volumes: [{name: v, image: {reference: "data:1"}}]
---
# a comment alone
---
apiVersion: v1
kind: List
items:
- apiVersion: batch/v1
  kind: CronJob
  spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: "job:1"}, {image: "main:1"}]}}}}}
- apiVersion: v1
  kind: ConfigMap
  data: {image: "no:1"}
`, names("init:1", "main:1", "debug:1", "data:1", "job:1"), nil},
		"docker image ls": {"REPOSITORY   TAG       IMAGE ID       CREATED       SIZE\nalpine       3         aa   2 weeks ago   8MB\n<none>       <none>    bb   3 weeks ago   9MB\nghcr.io/o/a  v1  cc  now  1MB\n",
			names("alpine:3", "ghcr.io/o/a:v1"), []string{"f:3 <none> has no tag"}},
		"docker image ls since 29": {"                i Info →   U  In Use\nIMAGE          ID    DISK USAGE   CONTENT SIZE   EXTRA\nalpine:3       aa    12.8MB       3.63MB         U\n├─ linux/amd64 aa    12.8MB       3.63MB         U\n<untagged>     bb    1MB          1MB\n",
			names("alpine:3"), []string{"f:5 <untagged> has no tag"}},
		"crictl images": {"IMAGE   TAG  IMAGE ID  SIZE\nregistry.k8s.io/pause 3.9 aa 1MB\n", names("registry.k8s.io/pause:3.9"), nil},
	} {
		list, err := ParseList("f", []byte(test.text), environment)
		var skipped []string
		for _, s := range list.Skipped {
			skipped = append(skipped, s.Where+" "+s.Why)
		}
		if diff := cmp.Diff(test.want, list.Images); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
		if diff := cmp.Diff(test.skipped, skipped); diff != "" {
			t.Errorf("%s: skipped (-want +got):\n%s", name, diff)
		}
	}
}

// What is wrong is named with its line, and nothing of a list is read halfway.
func TestParseListProblems(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":         {"# nothing\n", "f names no image; write one a line, such as alpine:3"},
		"no name":       {"alpine:3\n$(rm)\n", `f:2: "$(rm)" is not the name of an image; write for example alpine:3 or ghcr.io/org/app:v1`},
		"YAML":          {"a: [b\nc: d\n", "f:2: neither a list with one image a line nor valid YAML: "},
		"versions":      {"docker.io:\n  images-by-semver: {alpine: 3 or so}\n", `f:2: "3 or so" is not a range of versions; write for example >= 1.2, < 2`},
		"unknown key":   {"docker.io:\n  image: {alpine: [3]}\n", `f:2: unknown key "image"; a registry has images, images-by-tag-regex and images-by-semver`},
		"no registry":   {"colour: red\n", `f:1: "colour" has no images, and this is neither`},
		"regex":         {"docker.io:\n  images-by-tag-regex:\n    a: '['\n", `f:3: "[" is not a regular expression of tags`},
		"no tag list":   {"docker.io:\n  images:\n    a: latest\n", `f:3: the tags of "docker.io/a" are not a list`},
		"text":          {"this is no list\n", "f:1: not a list of images"},
		"not UTF-8":     {"\xff\xfe", "f is not UTF-8 text"},
		"too large":     {strings.Repeat("a\n", 1<<20), "f has more than 1048576 bytes; split it"},
		"too many":      {manyNames(maxImages + 1), "f:10001: more than 10000 images; split the list"},
		"brackets":      {"a: " + strings.Repeat("[", 500_000), "f:1: is nested too deeply to be a list of images"},
		"indentation":   {"a:\n" + strings.Repeat(" ", 10_000) + "b: c\n", "f:2: is nested too deeply to be a list of images"},
		"dashes":        {"a:\n" + strings.Repeat("- ", 10_000) + "b\n", "f:2: is nested too deeply to be a list of images"},
		"alias of self": {"services: &s\n  a: {<<: *s}\n  b: *s\n", "f names no image"},
		"many aliases":  {bomb(), "f: has too many entries or aliases to be a list of images"},
	} {
		if _, err := ParseList("f", []byte(test.text), environment); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a:%d\n", i)
	}
	return b.String()
}

// bomb is a manifest that stands for 9^9 containers.
func bomb() string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: List\na0: &a0 {containers: [{image: x}]}\n")
	for i := range 9 {
		fmt.Fprintf(&b, "a%d: &a%d {", i+1, i+1)
		for j := range 9 {
			fmt.Fprintf(&b, "k%d: *a%d, ", j, i)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func FuzzParseList(f *testing.F) {
	for _, text := range []string{"alpine:3\n", "a: {images: {b: [c]}}", "services: {a: {image: 'b:${C:-1}'}}", "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: a}]}", "IMAGE TAG ID\na b c\n", "a: &a {<<: *a}\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := ParseList("f", text, environment)
		if err == nil && len(list.Images)+len(list.Skipped) == 0 {
			t.Error("neither images nor an error")
		}
		for _, image := range list.Images {
			if !isName(image.Name) {
				t.Errorf("%q is not a name", image.Name)
			}
		}
	})
}
