package hubsim

import (
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Format is the family of media types that an image is written in.
type Format int

// The formats; the zero value is that of current build tools.
const (
	OCI Format = iota
	Docker
)

func (f Format) index() types.MediaType {
	if f == Docker {
		return types.DockerManifestList
	}
	return types.OCIImageIndex
}

func (f Format) manifest() types.MediaType {
	if f == Docker {
		return types.DockerManifestSchema2
	}
	return types.OCIManifestSchema1
}

func (f Format) config() types.MediaType {
	if f == Docker {
		return types.DockerConfigJSON
	}
	return types.OCIConfigJSON
}

func (f Format) layer() types.MediaType {
	if f == Docker {
		return types.DockerLayer
	}
	return types.OCILayer
}

// BusyboxImage returns an image of one layer with /bin/busybox and its usual links.
// busybox is the path of the program; "" means /bin/busybox, where Debian's
// busybox-static installs it. If that file is missing, not static or for another
// platform, a line of text replaces it: then the image is valid but does not run. The
// same seed, file and platform give the same digest.
func BusyboxImage(busybox string, platform v1.Platform, seed uint64, f Format) (v1.Image, error) {
	layer, err := rootfs(program(busybox, platform), platform, seed)
	if err != nil {
		return nil, fmt.Errorf("busybox image: %w", err)
	}
	img, err := build(f, platform, v1.Config{
		Cmd: []string{"sh"},
		Env: []string{"PATH=/bin"},
	}, func() (io.ReadCloser, error) { return layer.open(), nil })
	if err != nil {
		return nil, fmt.Errorf("busybox image: %w", err)
	}
	return img, nil
}

// MultiPlatform returns an index of busybox images for linux/amd64 and linux/arm64.
func MultiPlatform(seed uint64, f Format) (v1.ImageIndex, error) {
	amd64, err := BusyboxImage("", v1.Platform{OS: "linux", Architecture: "amd64"}, seed, f)
	if err != nil {
		return nil, err
	}
	arm64, err := BusyboxImage("", v1.Platform{OS: "linux", Architecture: "arm64"}, seed, f)
	if err != nil {
		return nil, err
	}
	return Index(f, amd64, arm64)
}

// Layers returns an image for linux/amd64 with n layers, each with one file of size
// random bytes. The layers are not held in memory, so they can be large.
func Layers(n int, size int64, seed uint64, f Format) (v1.Image, error) {
	openers := make([]tarball.Opener, n)
	for i := range openers {
		openers[i] = randomLayer(i, size, seed)
	}
	platform := v1.Platform{OS: "linux", Architecture: "amd64"}
	img, err := build(f, platform, v1.Config{Cmd: []string{"/layer-0"}}, openers...)
	if err != nil {
		return nil, fmt.Errorf("image of %d layers: %w", n, err)
	}
	return img, nil
}

// Index returns an index of images, each for the platform in its configuration.
func Index(f Format, images ...v1.Image) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, f.index())
	for _, img := range images {
		config, err := img.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        img,
			Descriptor: v1.Descriptor{Platform: config.Platform()},
		})
	}
	return index, nil
}

// created returns the date of all images, which makes digests reproducible.
func created() v1.Time {
	return v1.Time{Time: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func build(f Format, platform v1.Platform, config v1.Config, layers ...tarball.Opener) (v1.Image, error) {
	img := mutate.MediaType(empty.Image, f.manifest())
	img = mutate.ConfigMediaType(img, f.config())
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{
		OS:           platform.OS,
		Architecture: platform.Architecture,
		Variant:      platform.Variant,
		Created:      created(),
		Config:       config,
		RootFS:       v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	for i, open := range layers {
		layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(f.layer()))
		if err != nil {
			return nil, err
		}
		img, err = mutate.Append(img, mutate.Addendum{
			Layer:     undescribed{layer},
			MediaType: f.layer(),
			History:   v1.History{Created: created(), CreatedBy: fmt.Sprintf("ADD layer %d", i)},
		})
		if err != nil {
			return nil, err
		}
	}
	return img, nil
}

// undescribed hides the descriptor of the tarball, whose empty annotations would be
// lost when it is written.
type undescribed struct{ v1.Layer }
