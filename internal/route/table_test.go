package route_test

import (
	"net/url"
	"testing"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

func TestUpstream(t *testing.T) {
	table := route.NewTable(oci.DockerHub, "ghcr.io", "My.registry:5000")
	for query, want := range map[string]string{
		"":                           oci.DockerHub,
		"ns=":                        oci.DockerHub,
		"ns=docker.io":               oci.DockerHub,
		"ns=Index.Docker.IO":         oci.DockerHub,
		"ns=registry-1.docker.io":    oci.DockerHub,
		"ns=docker.io&ns=docker.io":  oci.DockerHub,
		"ns=ghcr.io":                 "ghcr.io",
		"ns=GHCR.IO&other=x":         "ghcr.io",
		"ns=my.registry%3A5000":      "My.registry:5000",
		"ns=quay.io":                 "",
		"ns=169.254.169.254":         "",
		"ns=docker.io.":              "",
		"ns=docker.io&ns=ghcr.io":    "",
		"ns=ghcr.io&ns=docker.io":    "",
		"ns=ghcr.io&ns=":             "",
		"ns=index.docker.io&ns=quay": "",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, ns, err := table.Upstream(values)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: upstream %q, %v; want %q", query, got, err, want)
		}
		if err != nil && oci.CodeOf(err) != oci.NameUnknown {
			t.Errorf("%q: %v, want NAME_UNKNOWN", query, err)
		}
		if err == nil && ns != values.Get("ns") {
			t.Errorf("%q: ns %q", query, ns)
		}
	}
}
