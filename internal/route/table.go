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
	foreign  map[string]bool   // hosts of registries, in lower case
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

// WithForeign returns t with the hosts of registries that this mirror is never taken
// for: a request for one of them fails, unless it is that of an upstream.
func (t Table) WithForeign(hosts ...string) Table {
	t.foreign = make(map[string]bool, len(hosts))
	for _, host := range hosts {
		t.foreign[strings.ToLower(host)] = true
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
	host, port := splitHost(header)
	for _, name := range []string{host + ":" + port, host} {
		if upstream, ok = t.hosts[name]; ok {
			return upstream, true
		}
	}
	return "", false
}

func (t Table) isForeign(header string) bool {
	host, _ := splitHost(header)
	return t.foreign[host]
}

// splitHost returns the host of a Host header, in lower case, and its port, if it has one.
func splitHost(header string) (host, port string) {
	header = strings.ToLower(header)
	host, port, err := net.SplitHostPort(header)
	if err != nil {
		host = header
	}
	return strings.TrimSuffix(host, "."), port
}
