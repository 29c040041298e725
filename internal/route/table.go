// Package route says which upstream a request is for, and sends it there. It is
// the one place that knows the names of upstreams.
package route

import (
	"net"
	"strings"
)

// Upstream is one upstream with all its names. All of them are host or host:port in
// any case, or for an alias also one word.
type Upstream struct {
	Name    string
	Aliases []string // further names in paths and in ns
	Hosts   []string // Host headers of requests for it, beside its names; without a port they match any
}

// Table knows the upstreams by all their names. It is immutable.
type Table struct {
	fallback string
	names    map[string]string // by name and alias, in lower case
	hosts    map[string]string // by Host header, in lower case
}

// NewTable returns the table of these upstreams. No two may share a name, an alias
// or a host. The first one is for requests that name none.
func NewTable(upstreams ...Upstream) Table {
	t := Table{fallback: upstreams[0].Name, names: make(map[string]string), hosts: make(map[string]string)}
	for _, u := range upstreams {
		for _, name := range append([]string{u.Name}, u.Aliases...) {
			t.names[strings.ToLower(name)] = u.Name
			if strings.Contains(name, ".") { // a word may be the mirror's own host
				t.hosts[strings.ToLower(name)] = u.Name
			}
		}
		for _, host := range u.Hosts {
			t.hosts[strings.ToLower(host)] = u.Name
		}
	}
	return t
}

// Known reports whether an upstream has that name or alias.
func (t Table) Known(name string) bool {
	_, ok := t.byName(name)
	return ok
}

func (t Table) byName(name string) (upstream string, ok bool) {
	upstream, ok = t.names[strings.ToLower(name)]
	return upstream, ok
}

// byHost returns the upstream of a Host header, with its port or without.
func (t Table) byHost(header string) (upstream string, ok bool) {
	header = strings.ToLower(header)
	host, port, err := net.SplitHostPort(header)
	if err != nil {
		host = header
	}
	host = strings.TrimSuffix(host, ".")
	for _, name := range []string{host + ":" + port, host} {
		if upstream, ok = t.hosts[name]; ok {
			return upstream, true
		}
	}
	return "", false
}
