package route_test

import (
	"strings"
	"testing"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

var table = route.NewTable(
	route.Upstream{Name: oci.DockerHub, Aliases: []string{"index.docker.io", "registry-1.docker.io"}},
	route.Upstream{Name: "ghcr.io", Hosts: []string{"ghcr.mirror.example"}},
	route.Upstream{Name: "gcr.io"},
	route.Upstream{Name: "My.registry:5000", Aliases: []string{"corp"}, Hosts: []string{"mirror.example:5005", "corp.example"}},
).WithForeign("quay.io", "ghcr.io", "Registry.gitlab.com")

// Each row is a request and where it goes; an empty route means 404, with a message
// that contains what is in fails.
func TestFind(t *testing.T) {
	for name, test := range map[string]struct {
		request route.Request
		want    string // upstream and repository
		fails   string
	}{
		"nothing":                  {route.Request{Name: "library/alpine"}, "docker.io library/alpine", ""},
		"one component":            {route.Request{Name: "alpine"}, "docker.io alpine", ""},
		"ns":                       {route.Request{Name: "a/b", NS: []string{"ghcr.io"}}, "ghcr.io a/b", ""},
		"ns in capitals":           {route.Request{Name: "a/b", NS: []string{"GHCR.IO"}}, "ghcr.io a/b", ""},
		"ns is an alias":           {route.Request{Name: "a/b", NS: []string{"registry-1.docker.io"}}, "docker.io a/b", ""},
		"ns with a port":           {route.Request{Name: "a/b", NS: []string{"my.registry:5000"}}, "My.registry:5000 a/b", ""},
		"empty ns":                 {route.Request{Name: "a/b", NS: []string{""}}, "docker.io a/b", ""},
		"the same ns twice":        {route.Request{Name: "a/b", NS: []string{"docker.io", "index.docker.io"}}, "docker.io a/b", ""},
		"two ns":                   {route.Request{Name: "a/b", NS: []string{"docker.io", "ghcr.io"}}, "", `"a/b" names two upstreams: docker.io (ns) and ghcr.io (ns)`},
		"ns and an empty one":      {route.Request{Name: "a/b", NS: []string{"ghcr.io", ""}}, "", "more than once"},
		"unknown ns":               {route.Request{Name: "a/b", NS: []string{"quay.io"}}, "", `no upstream is named "quay.io" (ns), so "a/b"`},
		"ns with a trailing dot":   {route.Request{Name: "a/b", NS: []string{"docker.io."}}, "", "docker.io."},
		"ns is an address":         {route.Request{Name: "a/b", NS: []string{"169.254.169.254"}}, "", "169.254.169.254"},
		"prefix":                   {route.Request{Name: "a/b", Prefix: "ghcr.io"}, "ghcr.io a/b", ""},
		"prefix is an alias":       {route.Request{Name: "a/b", Prefix: "corp"}, "My.registry:5000 a/b", ""},
		"prefix and its ns":        {route.Request{Name: "a/b", Prefix: "ghcr.io", NS: []string{"ghcr.io"}}, "ghcr.io a/b", ""},
		"prefix and another ns":    {route.Request{Name: "a/b", Prefix: "ghcr.io", NS: []string{"gcr.io"}}, "", "ghcr.io (path) and gcr.io (ns)"},
		"unknown prefix":           {route.Request{Name: "a/b", Prefix: "quay.io"}, "", `"quay.io" (path)`},
		"unknown word as prefix":   {route.Request{Name: "a/b", Prefix: "mirror"}, "", `"mirror" (path)`},
		"component":                {route.Request{Name: "ghcr.io/a/b"}, "ghcr.io a/b", ""},
		"component in capitals":    {route.Request{Name: "GHCR.io/a"}, "ghcr.io a", ""},
		"component, one more":      {route.Request{Name: "docker.io/alpine"}, "docker.io alpine", ""},
		"component is an alias":    {route.Request{Name: "corp/a"}, "My.registry:5000 a", ""},
		"component with a port":    {route.Request{Name: "my.registry:5000/a"}, "My.registry:5000 a", ""},
		"component, escaped colon": {route.Request{Name: "my.registry%3A5000/a"}, "My.registry:5000 a", ""},
		"component, escaped slash": {route.Request{Name: "ghcr.io%2Fa/b"}, "docker.io ghcr.io%2Fa/b", ""}, // which is an invalid name
		"component and its ns":     {route.Request{Name: "docker.io/library/alpine", NS: []string{"docker.io"}}, "docker.io library/alpine", ""},
		"component and another ns": {route.Request{Name: "ghcr.io/a", NS: []string{"gcr.io"}}, "", "gcr.io (ns) and ghcr.io (path)"},
		"alias and another ns":     {route.Request{Name: "corp/a", NS: []string{"gcr.io"}}, "gcr.io corp/a", ""}, // its namespace
		"alias and its ns":         {route.Request{Name: "corp/a/b", NS: []string{"my.registry:5000"}}, "My.registry:5000 corp/a/b", ""},
		"alias and its prefix":     {route.Request{Name: "corp/a/b", Prefix: "corp"}, "My.registry:5000 corp/a/b", ""},
		"alias and its listener":   {route.Request{Name: "corp/a/b", Listener: "My.registry:5000"}, "My.registry:5000 corp/a/b", ""},
		"localhost":                {route.Request{Name: "localhost/a"}, "", `"localhost"`},
		"unknown component":        {route.Request{Name: "quay.io/a/b"}, "", `"quay.io" (path), so "quay.io/a/b"`},
		"unknown port":             {route.Request{Name: "localhost:5000/a"}, "", `"localhost:5000"`},
		"only the upstream":        {route.Request{Name: "ghcr.io"}, "", "no repository"},
		"only a host":              {route.Request{Name: "quay.io"}, "", "quay.io"},
		"only an alias":            {route.Request{Name: "corp"}, "docker.io corp", ""}, // an image of that name
		"domain-scoped project":    {route.Request{Name: "example.com/project/image", NS: []string{"gcr.io"}}, "gcr.io example.com/project/image", ""},
		"the same by prefix":       {route.Request{Name: "example.com/project/image", Prefix: "gcr.io"}, "gcr.io example.com/project/image", ""},
		"the same by component":    {route.Request{Name: "gcr.io/example.com/project/image"}, "gcr.io example.com/project/image", ""},
		"the same by host":         {route.Request{Name: "example.com/image", Host: "corp.example"}, "My.registry:5000 example.com/image", ""},
		"the same alone":           {route.Request{Name: "example.com/project/image"}, "", "example.com"},
		"host":                     {route.Request{Name: "a", Host: "ghcr.mirror.example"}, "ghcr.io a", ""},
		"host with any port":       {route.Request{Name: "a", Host: "GHCR.mirror.example:5000"}, "ghcr.io a", ""},
		"host with its port":       {route.Request{Name: "a", Host: "mirror.example:5005"}, "My.registry:5000 a", ""},
		"another host":             {route.Request{Name: "a", Host: "mirror.example:5000"}, "docker.io a", ""},
		"host is a name":           {route.Request{Name: "a", Host: "ghcr.io"}, "ghcr.io a", ""},
		"host is an alias":         {route.Request{Name: "a", Host: "index.docker.io:443"}, "docker.io a", ""},
		"host is a word":           {route.Request{Name: "a", Host: "corp"}, "docker.io a", ""},
		"host with a trailing dot": {route.Request{Name: "a", Host: "ghcr.mirror.example.:5000"}, "ghcr.io a", ""},
		"host and another ns":      {route.Request{Name: "a", Host: "corp.example", NS: []string{"docker.io"}}, "", "host corp.example"},
		"host is not configured":   {route.Request{Name: "a", Host: "quay.io"}, "", `no upstream is named "quay.io" (host)`},
		"the same with a port":     {route.Request{Name: "a", Host: "QUAY.io.:443"}, "", `"QUAY.io.:443" (host)`},
		"the same and a known ns":  {route.Request{Name: "a", Host: "registry.gitlab.com", NS: []string{"ghcr.io"}}, "", `"registry.gitlab.com" (host)`},
		"the same on a listener":   {route.Request{Name: "a", Host: "quay.io", Listener: "ghcr.io"}, "", `"quay.io" (host)`},
		"another name of it":       {route.Request{Name: "a", Host: "cdn.quay.io"}, "docker.io a", ""},
		"target":                   {route.Request{Name: "a", Host: "ghcr.io", Target: "ghcr.io"}, "ghcr.io a", ""},
		"target by its host":       {route.Request{Name: "a", Host: "corp.example:80", Target: "corp.example:80"}, "My.registry:5000 a", ""},
		"target by its alias":      {route.Request{Name: "a", Host: "corp", Target: "corp"}, "My.registry:5000 a", ""},
		"target and another ns":    {route.Request{Name: "a", Host: "ghcr.io", Target: "ghcr.io", NS: []string{"docker.io"}}, "", "host ghcr.io"},
		"target, not the host":     {route.Request{Name: "a", Host: "ghcr.io", Target: "corp.example"}, "My.registry:5000 a", ""},
		"unknown target, a host":   {route.Request{Name: "a", Host: "ghcr.io", Target: "harbor.corp"}, "", `"harbor.corp" (target)`},
		"unknown target":           {route.Request{Name: "a", Host: "harbor.corp", Target: "harbor.corp"}, "", `"harbor.corp" (target)`},
		"target is an address":     {route.Request{Name: "a", Host: "169.254.169.254", Target: "169.254.169.254"}, "", `"169.254.169.254" (target)`},
		"listener":                 {route.Request{Name: "a", Listener: "ghcr.io"}, "ghcr.io a", ""},
		"listener and its path":    {route.Request{Name: "ghcr.io/a", Listener: "ghcr.io"}, "ghcr.io a", ""},
		"listener and another":     {route.Request{Name: "a", Listener: "ghcr.io", Prefix: "docker.io"}, "", "ghcr.io (listener) and docker.io (path)"},
		"all agree": {route.Request{Name: "ghcr.io/a", Listener: "ghcr.io", Host: "ghcr.mirror.example", Prefix: "ghcr.io", NS: []string{"ghcr.io"}},
			"ghcr.io a", ""},
	} {
		got, err := table.Find(test.request)
		if is := strings.TrimSpace(got.Upstream + " " + got.Repository); is != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q, %v; want %q", name, is, err, test.want)
		}
		if err != nil && (oci.CodeOf(err) != oci.NameUnknown || !strings.Contains(err.Error(), test.fails)) {
			t.Errorf("%s: %v; want NAME_UNKNOWN with %q", name, err, test.fails)
		}
	}
}
