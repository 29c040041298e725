package route

import (
	"cmp"
	"net/url"
	"strings"

	"mirrord/internal/oci"
)

// Request is everything in a request that may name its upstream. Each part may be
// empty.
type Request struct {
	Listener string   // the upstream that the listener is bound to
	Host     string   // the Host header
	Target   string   // the host in a target in absolute form, with which clients ask a forward proxy
	Prefix   string   // the component before /v2, as in /ghcr.io/v2/org/image: containerd, Docker
	Name     string   // the repository, as in /v2/ghcr.io/org/image: podman, BuildKit, crane
	NS       []string // the values of the parameter ns: containerd, BuildKit
}

// Route is where a request goes.
type Route struct {
	Upstream   string // its name in the configuration
	Repository string // Request.Name without a component that names the upstream
	Named      bool   // the request names the upstream
}

// Find returns the route of a request. Everything in it that names an upstream must
// name the same one; when nothing does, it goes to the first upstream of the table.
//
// A first component of the repository that has a dot or a colon is never a namespace
// of Docker Hub: when it names no upstream and nothing else names one, the request
// fails. When something else does, it is part of the repository, as in
// gcr.io/example.com/project/image.
//
// The Host header may be any name of this mirror, but not that of a registry that is
// not in the table: then the mirror stands where that registry should be. The host of
// an absolute target must name an upstream, because this is not a forward proxy.
//
// It fails with oci.NameUnknown for an upstream that is not in the table, and when two
// are named: a client that asks for another registry's image must not get the
// default's.
func (t Table) Find(q Request) (Route, error) {
	s := selection{table: t, repository: q.Name}
	s.addKnown("listener", q.Listener)
	s.addHost(q)
	if q.Prefix != "" {
		s.add("path", q.Prefix)
	}
	s.addNS(q.NS)
	s.addComponent()
	if s.err != nil {
		return Route{}, s.err
	}
	named := s.upstream != ""
	return Route{Upstream: cmp.Or(s.upstream, t.fallback), Repository: s.repository, Named: named}, nil
}

// selection is the upstream that the parts of a request name, as far as they have
// been looked at.
type selection struct {
	table      Table
	repository string
	upstream   string // empty: none is named yet
	source     string // what named it
	err        error  // the first that occurred
}

// add adds a part of the request that must name an upstream.
func (s *selection) add(source, name string) {
	upstream, ok := s.table.byName(name)
	if !ok {
		s.fail("no upstream is named %.128q (%s), so %.128q cannot be pulled: add that registry under upstreams, or do not send its pulls to this mirror", name, source, s.repository)
		return
	}
	s.addKnown(source, upstream)
}

// addKnown adds an upstream that a part of the request names; empty if it names none.
func (s *selection) addKnown(source, upstream string) {
	switch {
	case upstream == "":
	case s.upstream == "":
		s.upstream, s.source = upstream, source
	case s.upstream != upstream:
		s.fail("the request for %.128q names two upstreams: %s (%s) and %s (%s); name one", s.repository, s.upstream, s.source, upstream, source)
	}
}

// addHost adds the host to which the client has addressed the request. A target has one
// instead of that in Host: RFC 9112, section 3.2.2.
func (s *selection) addHost(q Request) {
	host := cmp.Or(q.Target, q.Host)
	upstream, ok := s.table.byHost(host)
	switch {
	case ok:
		s.addKnown("host "+host, upstream)
	case q.Target != "":
		s.add("target", host)
	case s.table.isForeign(host):
		s.add("host", host)
	}
}

func (s *selection) addNS(values []string) {
	for _, ns := range values {
		switch {
		case ns != "":
			s.add("ns", ns)
		case len(values) > 1:
			s.fail("ns is given more than once for %.128q, and empty; give it once", s.repository)
		}
	}
}

// addComponent adds the first component of the repository, if it names an upstream,
// and cuts it off. An alias of one word may also be a namespace of the upstream that
// something else names, and is left to that. The colon before a port may be escaped.
func (s *selection) addComponent() {
	escaped, rest, _ := strings.Cut(s.repository, "/")
	first, err := url.PathUnescape(escaped)
	if err != nil || strings.Contains(first, "/") {
		return // an invalid name, for whatever upstream
	}
	switch {
	case rest != "" && s.table.Known(first) && (isRegistry(first) || s.upstream == ""):
		s.add("path", first)
		s.repository = rest
	case isRegistry(first) && s.upstream == "" && s.err == nil:
		s.add("path", first)
		if rest == "" {
			s.fail("%.128q names an upstream but no repository", first)
		}
	}
}

// isRegistry reports whether a first component is the host of a registry, for Docker
// and its like.
func isRegistry(first string) bool {
	return first == "localhost" || strings.ContainsAny(first, ".:") && strings.Trim(first, ".") == first && !strings.Contains(first, "..")
}

func (s *selection) fail(format string, args ...any) {
	if s.err == nil {
		s.err = oci.Errorf(oci.NameUnknown, format, args...)
	}
}
