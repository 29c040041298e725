// Package route says which upstream a request is for, and sends it there. It is
// the one place that knows the names of upstreams.
package route

import (
	"net/url"
	"strings"

	"mirrord/internal/oci"
)

// aliases are other names that clients have for an upstream.
var aliases = map[string][]string{
	oci.DockerHub: {"index.docker.io", "registry-1.docker.io"},
}

// Table knows the upstreams by all their names. It is immutable.
type Table struct {
	fallback string
	names    map[string]string // in lower case
}

// NewTable returns the table of the upstreams with these names. The first one is
// for requests that name none.
func NewTable(upstreams ...string) Table {
	t := Table{fallback: upstreams[0], names: make(map[string]string)}
	for _, name := range upstreams {
		t.names[strings.ToLower(name)] = name
		for _, alias := range aliases[name] {
			t.names[alias] = name
		}
	}
	return t
}

// Upstream returns the upstream that a query asks for, and the ns that it names. It
// fails with oci.NameUnknown when ns is unknown, or given twice for two upstreams: a
// client that asks for another registry's image must not get the default's.
func (t Table) Upstream(query url.Values) (upstream, ns string, err error) {
	upstream = t.fallback
	for i, name := range query["ns"] {
		named, ok := t.byName(name)
		switch {
		case !ok:
			return "", "", oci.Errorf(oci.NameUnknown, "no upstream is configured for ns %.128q: add that registry under upstreams, or do not point the client here for it", name)
		case i > 0 && named != upstream:
			return "", "", oci.Errorf(oci.NameUnknown, "ns is given more than once: as %s and as %s", upstream, named)
		}
		upstream = named
	}
	return upstream, query.Get("ns"), nil
}

func (t Table) byName(ns string) (upstream string, ok bool) {
	if ns == "" {
		return t.fallback, true
	}
	upstream, ok = t.names[strings.ToLower(ns)]
	return upstream, ok
}
