package hubsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
)

type tagList struct {
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

// serveTags serves all tags, or with n a page of them that begins after last.
func (h *Hub) serveTags(a *response, r *http.Request, t target) {
	a.version()
	tags := h.store.tags(t.repo)
	query := r.URL.Query()
	if last := query.Get("last"); last != "" {
		i, found := slices.BinarySearch(tags, last)
		if found {
			i++
		}
		tags = tags[i:]
	}
	if query.Has("n") {
		n, err := strconv.Atoi(query.Get("n"))
		if err != nil || n < 0 {
			a.fail(http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", nil)
			return
		}
		if n > 0 && n < len(tags) {
			next := fmt.Sprintf(`</v2/%s/tags/list?last=%s&n=%d>; rel="next"`, t.repo, url.QueryEscape(tags[n-1]), n)
			a.Header().Set("Link", next)
		}
		tags = tags[:min(n, len(tags))]
	}
	a.json(http.StatusOK, tagList{Name: t.repo, Tags: append([]string{}, tags...)})
}

// subjectOf has the members of a manifest that the referrers API uses.
type subjectOf struct {
	ArtifactType string              `json:"artifactType"`
	Config       imgspec.Descriptor  `json:"config"`
	Subject      *imgspec.Descriptor `json:"subject"`
	Annotations  map[string]string   `json:"annotations"`
}

// serveReferrers serves an index of the manifests that have a digest as their
// subject; it is empty when there are none.
func (h *Hub) serveReferrers(a *response, r *http.Request, t target) {
	a.version()
	subject, ok := a.parseDigest(t.reference)
	if !ok {
		return
	}
	list := imgspec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: imgspec.MediaTypeImageIndex,
		Manifests: []imgspec.Descriptor{},
	}
	wanted := r.URL.Query().Get("artifactType")
	for _, m := range h.store.manifests(t.repo) {
		d, ok := referrer(m, subject)
		if ok && (wanted == "" || wanted == d.ArtifactType) {
			list.Manifests = append(list.Manifests, d)
		}
	}
	if wanted != "" {
		a.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	a.Header().Set("Content-Type", imgspec.MediaTypeImageIndex)
	a.json(http.StatusOK, list)
}

// referrer returns the descriptor of m if it refers to subject.
func referrer(m manifest, subject digest.Digest) (imgspec.Descriptor, bool) {
	var s subjectOf
	if err := json.Unmarshal(m.raw, &s); err != nil || s.Subject == nil || s.Subject.Digest != subject {
		return imgspec.Descriptor{}, false
	}
	if s.ArtifactType == "" {
		s.ArtifactType = s.Config.MediaType
	}
	return imgspec.Descriptor{
		MediaType:    m.mediaType,
		Digest:       m.digest,
		Size:         int64(len(m.raw)),
		ArtifactType: s.ArtifactType,
		Annotations:  s.Annotations,
	}, true
}
