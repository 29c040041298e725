package images

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"mirrord/internal/oci"
	"mirrord/internal/route"
	"mirrord/internal/tagrule"
)

// Pattern matches images. The zero Pattern matches all.
//
// It is written like a name: UPSTREAM/REPOSITORY, and optionally :TAG or @DIGEST, without
// which every tag and digest match. In upstream, repository and tag * and ? match within
// one component, ** any number of components, [abc] and {a,b} as in shells. What has no
// registry is of Docker Hub as for clients: alpine is docker.io/library/alpine, and * is
// docker.io/library/*. All images are **.
type Pattern struct {
	name   string // of upstream and repository; empty: all
	tag    string // empty: all
	digest oci.Digest
	exact  oci.Ref // the image that it names; zero: it names none, or several
}

// ParsePattern returns the pattern that text means; an empty one is the zero Pattern.
// Every error is one of the text, and says what to write instead.
func ParsePattern(text string, routes route.Table) (Pattern, error) {
	if text == "" {
		return Pattern{}, nil
	}
	if err := checkText(text); err != nil {
		return Pattern{}, err
	}
	name, digest, byDigest := strings.Cut(text, "@")
	if err := tagrule.Check(name); err != nil {
		return Pattern{}, err
	}
	name, tag, _ := cutTag(name)
	p := Pattern{name: qualify(name, routes), tag: tag}
	if byDigest {
		d, err := oci.ParseDigest(digest)
		if err != nil {
			return Pattern{}, fmt.Errorf("%q: %w; write a whole digest after @, or none", text, err)
		}
		p.tag, p.digest = "", d
	}
	p.exact = p.toRef(routes)
	return p, nil
}

// toRef returns the image that p names, if it has a tag or a digest and no wildcards and is of
// an upstream, and else the zero Ref.
func (p Pattern) toRef(routes route.Table) oci.Ref {
	upstream, repository, _ := strings.Cut(p.name, "/")
	if strings.ContainsAny(p.name+p.tag, `*?[]{}\`) || !routes.Known(upstream) {
		return oci.Ref{}
	}
	ref, err := oci.ParseManifest(upstream, repository, p.tag+p.digest.String())
	if err != nil {
		return oci.Ref{}
	}
	return ref
}

// qualify returns name with its upstream, by the upstream's own name.
func qualify(name string, routes route.Table) string {
	first, rest, below := strings.Cut(name, "/")
	switch {
	case first == "**":
		return name
	case below && routes.Known(first):
		if found, err := routes.Find(route.Request{Name: name}); err == nil {
			first, rest = found.Upstream, found.Repository
		}
	case !below:
		first, rest = oci.DockerHub, "library/"+name
	case !strings.ContainsAny(first, ".:"):
		first, rest = oci.DockerHub, name
	}
	if first == oci.DockerHub && !strings.Contains(rest, "/") && rest != "**" {
		rest = "library/" + rest
	}
	return first + "/" + rest
}

// Match reports whether p matches a manifest that is named by tag or by digest. A pattern
// with a digest matches no tag, and one with a tag no digest: ask for both where both are
// known.
func (p Pattern) Match(ref oci.Ref) bool {
	switch {
	case !p.MatchRepository(ref.Upstream(), ref.Repository()):
		return false
	case p.digest != "":
		return ref.Digest() == p.digest
	case p.tag != "":
		return !ref.ByDigest() && doublestar.MatchUnvalidated(p.tag, ref.Tag())
	}
	return true
}

// MatchRepository reports whether p can match images of a repository.
func (p Pattern) MatchRepository(upstream, repository string) bool {
	return p.name == "" || doublestar.MatchUnvalidated(p.name, upstream+"/"+repository)
}

// String returns p with what it means written out, such as docker.io/library/alpine:*.
func (p Pattern) String() string {
	switch {
	case p.name == "":
		return "**"
	case p.digest != "":
		return p.name + "@" + p.digest.String()
	case p.tag != "":
		return p.name + ":" + p.tag
	}
	return p.name + ":*"
}

// Exact returns the one image that p names, known or not; false if it can mean several.
func (p Pattern) Exact() (oci.Ref, bool) { return p.exact, p.exact != oci.Ref{} }

// Digest returns the digest that p names, or an empty one.
func (p Pattern) Digest() oci.Digest { return p.digest }
