package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"mirrord/internal/images"
	"mirrord/internal/tags"
)

// Explanation is what the mirror knows of one image, as JSON. Sizes are in bytes.
type Explanation struct {
	Name     string     `json:"name"`
	Known    bool       `json:"known"`            // false: a pull fetches all of it
	Digest   string     `json:"digest,omitempty"` // what a pull gets if the tag has not moved
	Stale    string     `json:"stale_digest,omitempty"`
	Cached   bool       `json:"cached"` // the manifest is
	Tag      *TagState  `json:"tag,omitempty"`
	Requests int64      `json:"requests"` // for the tag, since the mirror's start
	Hits     int64      `json:"hits"`
	LastUsed *time.Time `json:"last_used,omitempty"`
	Missed   *time.Time `json:"last_missed,omitempty"`
	Why      string     `json:"last_missed_because,omitempty"`
	Pulls    *int       `json:"pulls,omitempty"` // for the manifest itself, by a pull now; absent: not known
	Variants []Variant  `json:"variants"`
}

// TagState is what is known of a tag, as JSON.
type TagState struct {
	Checked   *time.Time `json:"checked,omitempty"` // when the upstream confirmed it
	Fresh     float64    `json:"fresh_seconds"`     // how long after that it is served without asking
	NextCheck *time.Time `json:"next_check,omitempty"`
	Refused   string     `json:"refused,omitempty"` // the upstream's last response, if it was a refusal
	RefusedAt *time.Time `json:"refused_at,omitempty"`
	Failed    string     `json:"failed,omitempty"` // why it is not asked before NextCheck
}

// Variant is the image for one platform, as JSON.
type Variant struct {
	Platform    string `json:"platform,omitempty"`
	Attestation bool   `json:"attestation,omitempty"`
	Digest      string `json:"digest"`
	Cached      bool   `json:"cached"` // its manifest is; if not, nothing is known of its layers
	Blobs       int    `json:"blobs"`  // config and layers
	BlobsCached int    `json:"blobs_cached"`
	Present     int64  `json:"present"`
	Missing     int64  `json:"missing"` // known to be missing
	Pulls       int    `json:"pulls"`   // that a pull of it spends now, beside those for the index
}

// explain returns what is known of the parameter image.
func (a *API) explain(r *http.Request) (any, error) {
	ref, err := a.opts.Images.Parse(r.URL.Query().Get("image"))
	if err != nil {
		return nil, badRequest(err)
	}
	return explanationOf(a.opts.Images.Explain(r.Context(), ref)), nil
}

func explanationOf(e images.Explanation) Explanation {
	x := Explanation{
		Name: e.Ref.String(), Known: e.Known(), Digest: e.Digest.String(), Stale: e.Stale.String(), Cached: e.Size > 0,
		Requests: e.Uses.Requests, Hits: e.Uses.Hits, LastUsed: moment(e.Uses.Last), Missed: moment(e.Uses.Missed), Why: e.Uses.Why,
		Variants: make([]Variant, 0, len(e.Variants)),
	}
	if x.Known {
		pulls := 0
		if !x.Cached {
			pulls = 1
		}
		x.Pulls = &pulls
	}
	if e.Tag != nil {
		x.Tag = tagStateOf(*e.Tag)
	}
	for _, v := range e.Variants {
		x.Variants = append(x.Variants, Variant{
			Platform: v.Platform, Attestation: v.Attestation, Digest: v.Digest.String(), Cached: v.Cached,
			Blobs: v.Blobs, BlobsCached: v.BlobsCached, Present: v.Present, Missing: v.Missing, Pulls: v.Pulls,
		})
	}
	return x
}

func tagStateOf(k tags.Known) *TagState {
	state := &TagState{
		Checked: moment(k.Checked), Fresh: k.Fresh.Seconds(), NextCheck: moment(k.NextCheck()),
		Refused: string(k.Refused), RefusedAt: moment(k.RefusedAt),
	}
	if k.Reason != nil && time.Now().Before(k.Retry) {
		state.Failed = k.Reason.Error()
	}
	return state
}

// Explain returns what the mirror knows of an image, and as the mirror sent it.
func (c *Client) Explain(ctx context.Context, image string) (e Explanation, raw json.RawMessage, err error) {
	raw, err = c.get(ctx, "/v1/explain", url.Values{"image": {image}}, &e)
	return e, raw, err
}
