package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of Docker's manifests, which image-spec does not name.
const (
	DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	DockerSchema1      = "application/vnd.docker.distribution.manifest.v1+json"
	dockerConfig       = "application/vnd.docker.container.image.v1+json"
)

// ErrNeedsGet marks the error of a Resolve whose upstream does not describe the
// manifest in the response to a HEAD. Open of the same reference does, at the
// cost of a pull.
var ErrNeedsGet = errors.New("HEAD does not describe the manifest")

// ErrNotManifest says that bytes are not a manifest: they are not a JSON object,
// or its members contradict its media type or each other.
var ErrNotManifest = errors.New("not a manifest")

var manifestType = regexp.MustCompile(`^application/(?:[A-Za-z0-9!#$&^_.+-]*[.+])?json$`)

// IsManifestType reports whether t can be the media type of a manifest;
// application/json can.
func IsManifestType(t string) bool { return len(t) < 256 && manifestType.MatchString(t) }

// Complete reports whether d has all that the response for a manifest needs: a
// size, and a media type more specific than application/json. Some upstreams
// omit them in response to a HEAD.
func (d Descriptor) Complete() bool {
	return d.Size > 0 && d.MediaType != "application/json" && IsManifestType(d.MediaType)
}

// ManifestType returns the media type of the manifest raw according to its own
// members, or "" when they do not determine it. Without a mediaType it tells an
// index from an image as containers/image does. It fails with ErrNotManifest.
//
// It rejects a document that is both, as image-spec 1.1 requires: two clients
// could interpret it differently (CVE-2021-41190).
func ManifestType(raw []byte) (string, error) {
	var m *members
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotManifest, err)
	}
	if m == nil {
		return "", fmt.Errorf("%w: null", ErrNotManifest)
	}
	own := string(m.MediaType)
	if own != "" && !IsManifestType(own) {
		return "", fmt.Errorf("%w: its mediaType is %q", ErrNotManifest, clip(own))
	}
	index, image := bool(m.Manifests), bool(m.Layers || m.Config.present)
	switch own {
	case ocispec.MediaTypeImageIndex, DockerManifestList:
		index = true
	case ocispec.MediaTypeImageManifest, DockerManifest:
		image = true
	case "":
		return impliedType(index, image, m)
	default:
		return own, nil
	}
	if index && image {
		return "", errBoth
	}
	return own, nil
}

var errBoth = fmt.Errorf("%w: it is both an index and an image", ErrNotManifest)

// members are the members of a manifest that determine its type. JSON may repeat
// a member, or capitalize it, which Go treats as the same member and others do
// not. So one non-null occurrence makes a member present, and two different media
// types are an error.
type members struct {
	MediaType mediaType `json:"mediaType"`
	Manifests present   `json:"manifests"`
	Layers    present   `json:"layers"`
	Config    config    `json:"config"`
	FSLayers  present   `json:"fsLayers"`
}

// present is true for a member that exists and is not null.
type present bool

func (p *present) UnmarshalJSON(raw []byte) error {
	*p = *p || string(raw) != "null"
	return nil
}

type mediaType string

func (t *mediaType) UnmarshalJSON(raw []byte) error {
	var value string
	if err := json.Unmarshal(raw, &value); err != nil {
		return err
	}
	if *t != "" && value != string(*t) {
		return errors.New("two different values of mediaType")
	}
	*t = mediaType(value)
	return nil
}

type config struct {
	present
	mediaType
}

func (c *config) UnmarshalJSON(raw []byte) error {
	var descriptor struct {
		MediaType mediaType `json:"mediaType"`
	}
	if err := json.Unmarshal(raw, &descriptor); err != nil {
		return err
	}
	c.mediaType = descriptor.MediaType
	return c.present.UnmarshalJSON(raw)
}

func impliedType(index, image bool, m *members) (string, error) {
	switch {
	case index && image:
		return "", errBoth
	case index:
		return ocispec.MediaTypeImageIndex, nil
	case image && m.Config.mediaType == dockerConfig:
		return DockerManifest, nil
	case image:
		return ocispec.MediaTypeImageManifest, nil
	case bool(m.FSLayers):
		return DockerSchema1, nil
	}
	return "", nil
}

// CheckSize fails when ref is a manifest of more bytes than are served.
func CheckSize(ref Ref, size int64) error {
	if ref.Kind() != Manifest || size <= MaxManifestSize {
		return nil
	}
	return Errorf(Unavailable, "manifest %s has %d bytes; more than %d are not served", ref, size, MaxManifestSize)
}
