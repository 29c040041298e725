// Package images knows the images of the mirror as people name them: it reads their
// names and patterns of them, and finds out what of an image is cached.
package images

import (
	"fmt"
	"strings"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

// maxText is how many bytes a name or a pattern may have: a host, a repository, a tag and
// a digest of sha512 fit.
const maxText = 1024

// defaultTag is what a name without tag and digest means.
const defaultTag = "latest"

// Parse returns the manifest that a client with the mirror's upstreams fetches for a
// name: alpine is docker.io/library/alpine:latest. A first component that names an
// upstream, by an alias too, is that; one with a dot or a colon must. A digest wins over
// a tag beside it. Every error is one of the name, and says what to write instead.
func Parse(name string, routes route.Table) (oci.Ref, error) {
	if err := checkText(name); err != nil {
		return oci.Ref{}, err
	}
	tagged, digest, byDigest := strings.Cut(name, "@")
	repository, tag, ok := cutTag(tagged)
	if !ok {
		tag = defaultTag
	}
	upstream, repository, err := findUpstream(repository, routes)
	if err != nil {
		return oci.Ref{}, fmt.Errorf("%q: %w", name, err)
	}
	ref, err := oci.ParseManifest(upstream, repository, tag)
	if err == nil && byDigest {
		var d oci.Digest
		d, err = oci.ParseDigest(digest)
		ref = ref.At(d)
	}
	if err != nil {
		return oci.Ref{}, fmt.Errorf("%q: %w; write for example alpine:3, quay.io/org/app:v1 or ghcr.io/org/app@sha256:…", name, err)
	}
	return ref, nil
}

// checkText refuses what is not a name at all, but often pasted as one.
func checkText(text string) error {
	switch scheme, rest, ok := strings.Cut(text, "://"); {
	case text == "":
		return fmt.Errorf("the name of an image is empty; write for example alpine:3")
	case len(text) > maxText:
		return fmt.Errorf("the name of an image has %d bytes; at most %d are read", len(text), maxText)
	case ok:
		return fmt.Errorf("%q begins with a scheme; leave %s:// out and write %s", text, scheme, rest)
	}
	return nil
}

// cutTag cuts name at the last colon that no slash follows: localhost:5000/app has no
// tag.
func cutTag(name string) (repository, tag string, tagged bool) {
	colon := strings.LastIndexByte(name, ':')
	if colon < 0 || strings.Contains(name[colon:], "/") {
		return name, "", false
	}
	return name[:colon], name[colon+1:], true
}

// findUpstream returns the upstream that a repository names, and the repository there.
// One that names none is of Docker Hub, whatever the mirror's first upstream is.
func findUpstream(name string, routes route.Table) (upstream, repository string, err error) {
	found, err := routes.Find(route.Request{Name: name})
	if err == nil && !found.Named {
		if !routes.Known(oci.DockerHub) {
			return "", "", fmt.Errorf("a name without a registry is of %s, which is not among the upstreams; write the registry before it, or add %[1]s", oci.DockerHub)
		}
		found, err = routes.Find(route.Request{Name: name, Prefix: oci.DockerHub})
	}
	return found.Upstream, found.Repository, err
}
