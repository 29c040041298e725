package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mirrord/internal/images"
	"mirrord/internal/oci"
)

const imagesPath = "/v1/images"

// Image is a tag and what of the image that it names is cached, as JSON. Sizes are in
// bytes.
type Image struct {
	Name       string     `json:"name"` // as people write it: docker.io/library/alpine:3
	Upstream   string     `json:"upstream"`
	Repository string     `json:"repository"`
	Tag        string     `json:"tag"`
	Digest     string     `json:"digest"`
	Platforms  []string   `json:"platforms"` // whose manifests are cached
	Size       int64      `json:"size"`      // cached
	Shared     int64      `json:"shared"`    // of it also part of other images
	Pinned     bool       `json:"pinned"`    // it is not evicted
	LastUsed   *time.Time `json:"last_used,omitempty"`
	Requests   int64      `json:"requests"` // for the tag, since the mirror's start
	Hits       int64      `json:"hits"`     // of them served from the cache
}

// ImageName is the name of a tag that the mirror knows.
type ImageName struct {
	Name string `json:"name"`
}

// images returns the images that match the parameter pattern; with names=true only their
// names, which is faster.
func (a *API) images(r *http.Request) (any, error) {
	pattern, err := a.opts.Images.ParsePattern(r.URL.Query().Get("pattern"))
	if err != nil {
		return nil, badRequest(err)
	}
	if r.URL.Query().Get("names") == "true" {
		names := []ImageName{}
		for _, ref := range a.opts.Images.Names(pattern) {
			names = append(names, ImageName{ref.String()})
		}
		return names, nil
	}
	found, err := a.opts.Images.List(r.Context(), pattern)
	if err != nil {
		return nil, err
	}
	pinned := make(map[oci.Ref]bool)
	for _, pin := range a.opts.Retention.Pins() {
		pinned[pin.Ref] = pin.Short == 0
	}
	all := make([]Image, 0, len(found))
	for _, i := range found {
		image := imageOf(i)
		image.Pinned = pinned[i.Ref] || pinned[i.Ref.At(i.Digest)]
		all = append(all, image)
	}
	return all, nil
}

func imageOf(i images.Image) Image {
	platforms := i.Platforms
	if platforms == nil {
		platforms = []string{}
	}
	return Image{
		Name: i.Ref.String(), Upstream: i.Ref.Upstream(), Repository: i.Ref.Repository(), Tag: i.Ref.Tag(),
		Digest: i.Digest.String(), Platforms: platforms, Size: i.Size, Shared: i.Shared,
		LastUsed: moment(i.Used), Requests: i.Uses.Requests, Hits: i.Uses.Hits,
	}
}

// Images returns the images of the mirror that match a pattern, and as the mirror sent
// them. An empty pattern matches all.
func (c *Client) Images(ctx context.Context, pattern string) (all []Image, raw json.RawMessage, err error) {
	raw, err = c.patient().get(ctx, imagesPath, url.Values{"pattern": {pattern}}, &all)
	return all, raw, err
}

// ImageNames returns the names of the tags that the mirror knows and that match a
// pattern, sorted.
func (c *Client) ImageNames(ctx context.Context, pattern string) ([]string, error) {
	var found []ImageName
	_, err := c.get(ctx, imagesPath, url.Values{"pattern": {pattern}, "names": {strconv.FormatBool(true)}}, &found)
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = f.Name
	}
	return names, err
}
