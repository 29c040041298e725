package tagrule

import (
	"strings"
	"testing"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		pattern   string
		yes, none string // images, each as upstream repository:tag, separated by commas
	}{
		{"*:latest", "d library/alpine:latest,d corp/team/app:latest,d app:latest", "d library/alpine:3,d library/alpine:latest2"},
		{"library/*:v?*.*.*", "d library/nginx:v1.2.3,d library/nginx:v10.2.3-alpine", "d library/nginx:1.2.3,d library/nginx:v1.2,d library/a/b:v1.2.3,d corp/nginx:v1.2.3"},
		{"corp/**", "d corp/a:1,d corp/a/b:x,d corp:1,corp a:1", "d library/corp:1,d corps/a:1,d x/corp/a:1"},
		{"nginx", "d library/nginx:1,d corp/nginx:x,d nginx:1", "d nginx/app:1,d library/nginx2:1"},
		{"nginx:1.*", "d library/nginx:1.27", "d library/nginx:1,d library/nginx:2.1"},
		{"ghcr.io/org/app", "ghcr.io org/app:1", "ghcr.io org/app2:1,d org/app:1,ghcr.io x/org/app:1"},
		{"ghcr.io/**:main", "ghcr.io org/app:main,ghcr.io app:main", "d org/app:main,ghcr.io org/app:1"},
		{"localhost:5000/**", "localhost:5000 a/b:1,localhost:5000 a:2", "localhost:5001 a/b:1,localhost a:1"},
		{"localhost:5000/*:v?", "localhost:5000 a:v1", "localhost:5000 a/b:v1,localhost:5000 a:v10"},
		{"localhost:5000", "d a/localhost:5000", "localhost:5000 a:1"},
		{"**/app", "d app:1,d a/app:1,d a/b/app:1", "d a/app/b:1"},
		{"a/**/z", "d a/z:1,d a/b/z:1,d a/b/c/z:1", "d a/b:1,d b/a/z:1"},
		{"a/?", "d a/b:1", "d a/bc:1,d a/b/c:1"},
		{"library/{nginx,alpine}:[0-9]*", "d library/nginx:1,d library/alpine:3.20", "d library/redis:1,d library/nginx:latest"},
		{"{corp,team/x}/**", "d corp/a:1,d team/x/a:1", "d team/a:1"},
		{"{a,b,c,d,e,f,g,h,i,k,l,m,n,o,p,q}", "d a:1,d q:1", "d r:1"},
		{"app:[!a-c]*", "d app:d1", "d app:a1,d app:b"},
		{`app:\v*`, "d app:v1", "d app:w1"},
		{"*:RC-*", "d app:RC-1", "d app:rc-1"},
	} {
		if err := Check(test.pattern); err != nil {
			t.Errorf("%s: %v", test.pattern, err)
		}
		rules := Rules{{test.pattern, time.Hour}}
		for image := range strings.SplitSeq(test.yes, ",") {
			if fresh, ok := freshOf(rules, image); !ok || fresh != time.Hour {
				t.Errorf("%s does not match %s", test.pattern, image)
			}
		}
		for image := range strings.SplitSeq(test.none, ",") {
			if _, ok := freshOf(rules, image); ok {
				t.Errorf("%s matches %s", test.pattern, image)
			}
		}
	}
}

// freshOf applies rules to an image of the form "upstream repository:tag".
func freshOf(rules Rules, image string) (time.Duration, bool) {
	upstream, reference, _ := strings.Cut(image, " ")
	repository, tag, _ := strings.Cut(reference, ":")
	return rules.Fresh(upstream, repository, tag)
}

func TestFirstMatchWins(t *testing.T) {
	rules := Rules{{"corp/**:v*", time.Hour}, {"*:latest", 0}, {"corp/**", time.Minute}}
	for image, want := range map[string]time.Duration{
		"d corp/a:v1": time.Hour, "d corp/a:latest": 0, "d corp/a:x": time.Minute,
	} {
		if got, ok := freshOf(rules, image); !ok || got != want {
			t.Errorf("%s: got %v, %v; want %v", image, got, ok, want)
		}
	}
	if got, ok := freshOf(rules, "d library/a:x"); ok || got != 0 {
		t.Errorf("no rule matches: got %v, %v", got, ok)
	}
	if _, ok := freshOf(nil, "d library/a:x"); ok {
		t.Error("a rule of none matches")
	}
}

func TestCheck(t *testing.T) {
	const (
		incomplete = ` is incomplete; close each [ and {, put something inside [], and do not end in \`
		slash      = ` has a leading, trailing or double slash; write for example library/* or corp/**`
		stars      = ` has ** next to other characters; put it between slashes, such as corp/**/app, or write *`
	)
	for pattern, want := range map[string]string{
		"":                `"" has no name; write for example *:latest`,
		":latest":         `":latest" has no name; write for example *:latest`,
		"nginx:":          `"nginx:" has no tag after the colon; write for example nginx:latest, or omit the colon to match every tag`,
		"/nginx":          `"/nginx"` + slash,
		"library/":        `"library/"` + slash,
		"library//nginx":  `"library//nginx"` + slash,
		"corp**":          `"corp**"` + stars,
		"a/**b":           `"a/**b"` + stars,
		"***":             `"***"` + stars,
		"library/Nginx":   `"library/Nginx" contains "N", which no repository name can; write lower-case letters, digits and . _ - /`,
		"nginx@sha256:12": `"nginx@sha256:12" contains "@", which no repository name can; write lower-case letters, digits and . _ - /`,
		"a b":             `"a b" contains " ", which no repository name can; write lower-case letters, digits and . _ - /`,
		"nginx:1+2":       `"nginx:1+2" contains "+", which no tag can; write letters, digits and . _ -`,
		"nginx:é":         `"nginx:é" contains "é", which no tag can; write letters, digits and . _ -`,
		"a/[b":            `"a/[b"` + incomplete,
		"a/[]":            `"a/[]"` + incomplete,
		"a/{b":            `"a/{b"` + incomplete,
		"a/b}":            `"a/b}"` + incomplete,
		"library/{a:1,b}": `"library/{a"` + incomplete,
		"a/[!0{]":         `"a/[!0{]" contains "[!0{"; write only letters, digits and . _ - between [ and ]`,
		"a:[^[]":          `"[^[]" contains "[^["; write only letters, digits and . _ - between [ and ]`,
		`a\:1`:            `"a\\"` + incomplete,
		"a:[1":            `"[1"` + incomplete,
		"{a,b,c}{d,e,f}{g,h,i}{k,l,m}{n,o,p}{q}{r}": `"{a,b,c}{d,e,f}{g,h,i}{k,l,m}{n,o,p}{q}{r}" has more than 16 alternatives in {…}; split it into several rules`,
	} {
		if err := Check(pattern); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", pattern, err, want)
		}
	}
}

// A pattern that Check accepts never causes ErrBadPattern, whatever it is matched with.
func FuzzFresh(f *testing.F) {
	for _, pattern := range []string{
		"*:latest", "library/*:v?*.*.*", "corp/**", "localhost:5000/**", "{a,[a-c]}/{b,{c,d}}:[^a-z]*", `\]/\*:[a-]`, "{**,a}/**/b:{,x}", "{a\\,b,[!0]}", "[!a-]*:[-a]",
	} {
		f.Add(pattern, "localhost:5000", "library/nginx", "v1.2.3")
	}
	f.Fuzz(func(t *testing.T, pattern, upstream, repository, tag string) {
		if Check(pattern) != nil {
			return
		}
		fresh, ok := Rules{{pattern, time.Hour}}.Fresh(upstream, repository, tag)
		if ok != (fresh == time.Hour) {
			t.Errorf("Fresh = %v, %v", fresh, ok)
		}
		name, tags, _ := split(pattern)
		for _, part := range []string{name, tags} {
			for _, text := range []string{repository, upstream + "/" + repository, tag} {
				if _, err := doublestar.Match(part, text); err != nil {
					t.Errorf("Match(%q, %q): %v", part, text, err)
				}
			}
		}
	})
}
