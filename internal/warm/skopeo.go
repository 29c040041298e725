package warm

import (
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// everyTag matches each tag: skopeo syncs all of an image without any.
const everyTag = "."

// readRegistry reads what is synchronized from one registry in a file of skopeo sync. How
// it is reached is the mirror's business.
func (r *reader) readRegistry(t *tree, registry string, node ast.Node) error {
	found := false
	for key, images := range t.pairs(node) {
		for name, selection := range t.pairs(images) {
			if err := r.readSelection(t, key, registry+"/"+name, selection); err != nil {
				return err
			}
		}
		switch key {
		case "images", "images-by-tag-regex", "images-by-semver":
			found = true
		case "credentials", "tls-verify", "cert-dir":
		default:
			return r.wrong(images, "unknown key %.80q; a registry has images, images-by-tag-regex and images-by-semver", key)
		}
	}
	if !found {
		return r.wrong(node, "%.80q has no images, and this is neither a compose file nor a manifest of Kubernetes; write one image a line, or registry: {images: {name: [tag]}}", registry)
	}
	return nil
}

// readSelection reads which tags of an image are selected below a key.
func (r *reader) readSelection(t *tree, key, name string, selection ast.Node) error {
	image := Image{Name: name}
	text, single := t.text(selection)
	switch key {
	case "images":
		return r.readTags(t, image, selection)
	case "images-by-tag-regex":
		if _, err := regexp.Compile(text); !single || text == "" || err != nil {
			return r.wrong(selection, "%.80q is not a regular expression of tags; write for example ^1[.]", text)
		}
		image.Tags = text
	case "images-by-semver":
		if _, err := parseVersions(text); !single || err != nil {
			return r.wrong(selection, "%.80q is not a range of versions; write for example >= 1.2, < 2", text)
		}
		image.Versions = text
	default:
		return nil // which the caller judges
	}
	r.add(r.lineOf(selection), image)
	return nil
}

// readTags reads the tags and digests of an image.
func (r *reader) readTags(t *tree, image Image, node ast.Node) error {
	items := t.items(node)
	if _, single := t.text(node); single {
		return r.wrong(node, "the tags of %.80q are not a list; write [tag, ...]", image.Name)
	}
	for _, item := range items {
		tag, ok := t.text(item)
		if !ok {
			return r.wrong(item, "is not a tag of %.80q", image.Name)
		}
		separator := ":"
		if strings.Contains(tag, ":") { // a digest
			separator = "@"
		}
		r.add(r.lineOf(item), Image{Name: image.Name + separator + tag})
	}
	if len(items) == 0 {
		image.Tags = everyTag
		r.add(r.lineOf(node), image)
	}
	return nil
}
