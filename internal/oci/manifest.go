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

// ErrNeedsGet marks the error of a Resolve whose upstream does not say by HEAD
// what a manifest is: to Open the same reference tells, and costs a pull.
var ErrNeedsGet = errors.New("HEAD does not describe the manifest")

// ErrNotManifest says that bytes are not a manifest: not a JSON object, or one
// whose members contradict its media type or each other.
var ErrNotManifest = errors.New("not a manifest")

var manifestType = regexp.MustCompile(`^application/(?:[A-Za-z0-9!#$&^_.+-]*[.+])?json$`)

// IsManifestType reports whether t can be a manifest's media type, or is as
// general as application/json.
func IsManifestType(t string) bool { return len(t) < 256 && manifestType.MatchString(t) }

// Complete reports whether d tells what a manifest's answer needs, as a HEAD of
// an upstream may not: a size, and a media type that is not general.
func (d Descriptor) Complete() bool {
	return d.Size > 0 && d.MediaType != "application/json" && IsManifestType(d.MediaType)
}

// ManifestType returns the media type that raw has by its own members, whoever
// sends it, or "" when they leave it open. Without mediaType an index and an
// image are told apart as containers/image does. It fails with ErrNotManifest.
//
// A document that is both is refused, as image-spec 1.1 has it: two clients
// could take it for two different things (CVE-2021-41190).
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

// members are those of a manifest that tell what it is. JSON may have one twice,
// or in capitals, which Go's clients read alike and others do not: once is enough
// for a member to be there, and a media type may not have two values.
type members struct {
	MediaType mediaType `json:"mediaType"`
	Manifests present   `json:"manifests"`
	Layers    present   `json:"layers"`
	Config    config    `json:"config"`
	FSLayers  present   `json:"fsLayers"`
}

// present tells that a member is there and not null.
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
