package hubsim

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
)

// serveTags serves all tags, or with n a page of them that begins after last.
func (h *Hub) serveTags(a *response, r *http.Request, t target) {
	a.version()
	profile, query := h.opts.Profile.Tags, r.URL.Query()
	last := query.Get("last")
	if cursor := query.Get(profile.Cursor); profile.Cursor != "" && cursor != "" {
		raw, _ := hex.DecodeString(cursor)
		last = string(raw)
	}
	tags, known := after(h.store.tags(t.repo), last)
	n, err := profile.size(query)
	switch {
	case err != nil || n < 0:
		a.fail(http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", nil)
		return
	case profile.Max > 0 && n > profile.Max && profile.Over.Status != 0:
		h.reply(a, r, profile.Over)
		return
	case !known && profile.UnknownLast.Status != 0:
		h.reply(a, r, profile.UnknownLast)
		return
	case profile.Strict && strings.Contains(r.Header.Get("Accept"), "manifest"):
		a.text(http.StatusNotAcceptable, nil)
		return
	}
	if profile.Max > 0 {
		n = min(n, profile.Max)
	}
	h.sendTags(a, t, tags, n)
}

// after returns the tags after last, and whether last is a tag or empty.
func after(tags []string, last string) (rest []string, known bool) {
	i, found := slices.BinarySearch(tags, last)
	if found {
		i++
	}
	return tags[i:], found || last == ""
}

// size returns how many tags a page has.
func (p Tags) size(query url.Values) (int, error) {
	switch {
	case query.Has("n"):
		return strconv.Atoi(query.Get("n"))
	case p.Page > 0:
		return p.Page, nil
	case p.Max > 0:
		return p.Max, nil
	}
	return math.MaxInt, nil
}

func (h *Hub) sendTags(a *response, t target, tags []string, n int) {
	profile := h.opts.Profile.Tags
	if n > 0 && n < len(tags) && !profile.NoLink {
		last := tags[n-1]
		words := strings.NewReplacer("{repo}", t.repo, "{last}", url.QueryEscape(last), "{cursor}", hex.EncodeToString([]byte(last)), "{n}", strconv.Itoa(n))
		a.Header().Set("Link", words.Replace(cmp.Or(profile.Link, `</v2/{repo}/tags/list?last={last}&n={n}>; rel="next"`)))
	}
	list := map[string]any{"name": t.repo, "tags": append([]string{}, tags[:min(n, len(tags))]...)}
	maps.Copy(list, profile.Extra)
	a.json(http.StatusOK, list)
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
	if _, exists := h.store.manifest(t.repo, t.reference); !exists && h.opts.Profile.NoSubject.Status != 0 {
		h.reply(a, r, h.opts.Profile.NoSubject)
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
