package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/retention"
)

// Pin is an image that is pinned, as JSON. Sizes are in bytes.
type Pin struct {
	Name   string    `json:"name"`
	Since  time.Time `json:"since"`
	Digest string    `json:"digest,omitempty"` // what a tag names; absent: not known yet
	Cached bool      `json:"cached"`           // its manifest is
	Bytes  int64     `json:"bytes"`            // that it takes, those not cached yet and those of other pins too
	Short  int64     `json:"short,omitempty"`  // it is not in effect: it needs so many bytes more than cache.max_pinned allows
}

// Purged is what a purge or a collection has removed, or with dry_run would remove, as JSON.
type Purged struct {
	Tags  []string `json:"tags"`
	Blobs int      `json:"blobs"`
	Bytes int64    `json:"bytes"`
	InUse int      `json:"in_use"` // blobs that stay because they are being read, or were used meanwhile
	Done  bool     `json:"done"`
}

// Collected is a line of the response to a collection: what was done until then. Sizes are
// in bytes.
type Collected struct {
	Purged
	Adopted      int   `json:"adopted"` // files that the index did not know
	Lost         int   `json:"lost"`    // records without their file
	Strays       int   `json:"strays"`  // files that are not blobs, which stay
	Parts        int   `json:"unfinished"`
	PartBytes    int64 `json:"unfinished_bytes"`
	Evicted      int64 `json:"evicted"`
	EvictedBytes int64 `json:"evicted_bytes"`
}

const maxPatterns = 1000 // of one request

// patterns returns the parameters pattern, of which there is at least one.
func (a *API) patterns(r *http.Request) (all []retention.Pattern, err error) {
	texts := r.URL.Query()["pattern"]
	if len(texts) == 0 || len(texts) > maxPatterns {
		return nil, badRequest(fmt.Errorf("name 1 to %d images, each as a parameter pattern", maxPatterns))
	}
	for _, text := range texts {
		pattern, err := a.opts.Images.ParsePattern(text)
		if err == nil && text == "" {
			err = errors.New("a pattern is empty; write ** for all images")
		}
		if err != nil {
			return nil, badRequest(err)
		}
		all = append(all, pattern)
	}
	return all, nil
}

// refused gives errors of retention their status.
func refused(err error) error {
	switch {
	case errors.Is(err, retention.ErrNoMatch):
		return badRequest(err)
	case errors.Is(err, retention.ErrPinned), errors.Is(err, retention.ErrTooLarge):
		return refuse(http.StatusConflict, err)
	}
	return err
}

func (a *API) pins(*http.Request) (any, error) { return pinsOf(a.opts.Retention.Pins()), nil }

// pin pins the images that match.
func (a *API) pin(r *http.Request) (any, error) { return a.changePins(r, a.opts.Retention.Pin) }

// unpin unpins the images that match.
func (a *API) unpin(r *http.Request) (any, error) { return a.changePins(r, a.opts.Retention.Unpin) }

func (a *API) changePins(r *http.Request, change func(context.Context, []retention.Pattern) ([]retention.PinState, error)) (any, error) {
	patterns, err := a.patterns(r)
	if err != nil {
		return nil, err
	}
	pins, err := change(r.Context(), patterns)
	if err != nil {
		return nil, refused(err)
	}
	for _, p := range pins {
		noteOf(r).addImage(p.Ref.String())
	}
	return pinsOf(pins), nil
}

func pinsOf(states []retention.PinState) []Pin {
	pins := make([]Pin, 0, len(states))
	for _, s := range states {
		pins = append(pins, Pin{Name: s.Ref.String(), Since: s.Since, Digest: s.Digest.String(), Cached: s.Cached, Bytes: s.Bytes, Short: s.Short})
	}
	return pins
}

// purge removes the images that match; with dry_run=true it only says what that is.
func (a *API) purge(r *http.Request) (any, error) {
	patterns, err := a.patterns(r)
	if err != nil {
		return nil, err
	}
	purged, err := a.opts.Retention.Purge(r.Context(), patterns, isDryRun(r))
	for _, ref := range purged.Tags { // also when it has failed in the middle
		noteOf(r).addImage(ref.String())
	}
	if err != nil {
		return nil, refused(err)
	}
	return purgedOf(purged), nil
}

// isDryRun reports whether r only asks what would be done, and notes it.
func isDryRun(r *http.Request) bool {
	dry := r.URL.Query().Get("dry_run") == "true"
	noteOf(r).looked = dry
	return dry
}

func purgedOf(p retention.Purged) Purged {
	purged := Purged{Tags: []string{}, Blobs: p.Blobs, Bytes: p.Bytes, InUse: p.InUse, Done: true}
	for _, ref := range p.Tags {
		purged.Tags = append(purged.Tags, ref.String())
	}
	return purged
}

// collect removes what no image needs and was not used for the duration older_than.
func (a *API) collect(r *http.Request, lines *lineWriter) error {
	unused, err := time.ParseDuration(r.URL.Query().Get("older_than"))
	if err != nil || unused < 0 {
		return badRequest(errors.New("older_than is not a duration; write for example 720h, or 0s for all that no image needs"))
	}
	lines.begin() // reading the directory may take long
	c, err := a.opts.Retention.Collect(r.Context(), unused, isDryRun(r), func(c retention.Collected) { lines.write(collectedOf(c, false)) })
	if err == nil {
		lines.write(collectedOf(c, true))
	}
	return err
}

func collectedOf(c retention.Collected, done bool) Collected {
	purged := purgedOf(c.Purged)
	purged.Done = done
	return Collected{purged, c.Tidied.Adopted, c.Tidied.Lost, c.Tidied.Strays, c.Tidied.Parts, c.Tidied.PartBytes, c.Tidied.Evicted, c.Tidied.EvictedBytes}
}

// Pins returns the images that are pinned, and as the mirror sent them.
func (c *Client) Pins(ctx context.Context) (pins []Pin, raw []byte, err error) {
	raw, err = c.get(ctx, pinsPath, nil, &pins)
	return pins, raw, err
}

const pinsPath = "/v1/pins"

// Pin pins the images that match and returns them, and as the mirror sent them.
func (c *Client) Pin(ctx context.Context, patterns []string) (pins []Pin, raw []byte, err error) {
	raw, err = c.patient().exchange(ctx, http.MethodPost, pinsPath, url.Values{"pattern": patterns}, nil, &pins)
	return pins, raw, err
}

// Unpin unpins the images that match and returns them, and as the mirror sent them.
func (c *Client) Unpin(ctx context.Context, patterns []string) (pins []Pin, raw []byte, err error) {
	raw, err = c.patient().exchange(ctx, http.MethodDelete, pinsPath, url.Values{"pattern": patterns}, nil, &pins)
	return pins, raw, err
}

// Purge removes the images that match and returns what was removed, and as the mirror sent
// it; with dryRun what would be.
func (c *Client) Purge(ctx context.Context, patterns []string, dryRun bool) (purged Purged, raw []byte, err error) {
	query := url.Values{"pattern": patterns, "dry_run": {strconv.FormatBool(dryRun)}}
	raw, err = c.patient().exchange(ctx, http.MethodPost, "/v1/purge", query, nil, &purged)
	return purged, raw, err
}

// Collect removes what no image needs and was not used for that long, and returns what was
// done until the end or until err, and as the mirror sent it: nil when nothing is known. The
// mirror stops when ctx ends.
func (c *Client) Collect(ctx context.Context, unused time.Duration, dryRun bool) (done Collected, raw []byte, err error) {
	query := url.Values{"older_than": {unused.String()}, "dry_run": {strconv.FormatBool(dryRun)}}
	err = c.lines(ctx, http.MethodPost, "/v1/gc", query, nil, func(line []byte) error {
		var next Collected
		err := json.Unmarshal(line, &next)
		if err == nil && next.Tags != nil { // else it is an error
			done, raw = next, append(line, '\n')
		}
		return err
	})
	return done, raw, err
}

// Refreshed is what the upstream says of a tag, as JSON.
type Refreshed struct {
	Name     string `json:"name"`
	From     string `json:"from,omitempty"` // the digest before
	To       string `json:"to,omitempty"`   // the digest now
	Moved    bool   `json:"moved"`
	Pulled   bool   `json:"pulled"`             // the new manifest was fetched
	Unpulled string `json:"unpulled,omitempty"` // why it was not
	Failed   string `json:"failed,omitempty"`
}

// RefreshLine is a line of the response to a request to refresh tags.
type RefreshLine struct {
	*Refreshed
	Done bool `json:"done,omitempty"`
}

// refresh asks the upstreams what the parameters image name.
func (a *API) refresh(r *http.Request, lines *lineWriter) error {
	names := r.URL.Query()["image"]
	if len(names) == 0 || len(names) > maxPatterns {
		return badRequest(fmt.Errorf("name 1 to %d tags, each as a parameter image", maxPatterns))
	}
	var refs []oci.Ref
	for _, name := range names {
		ref, err := a.opts.Images.Parse(name)
		if err == nil && ref.ByDigest() {
			err = fmt.Errorf("%q names a digest, which never changes; name a tag", name)
		}
		if err != nil {
			return badRequest(err)
		}
		refs = append(refs, ref)
	}
	for _, ref := range refs {
		noteOf(r).addImage(ref.String())
	}
	lines.begin()
	failed := 0
	for _, ref := range refs {
		if r.Context().Err() != nil {
			return context.Cause(r.Context())
		}
		line := a.refreshed(r.Context(), ref)
		if line.Failed != "" || line.Unpulled != "" {
			failed++
		}
		lines.write(RefreshLine{Refreshed: line})
	}
	noteOf(r).leftOut(failed, len(refs), "fully refreshed")
	lines.write(RefreshLine{Done: true})
	return nil
}

func (a *API) refreshed(ctx context.Context, ref oci.Ref) *Refreshed {
	got, err := a.opts.Tags.Refresh(oci.WithBackground(ctx), ref)
	line := Refreshed{Name: ref.String(), From: got.From.String(), To: got.To.String(), Moved: got.From != got.To, Pulled: got.Pulled}
	if got.Unpulled != nil {
		line.Unpulled = got.Unpulled.Error()
	}
	if err != nil {
		line.Failed = err.Error()
	}
	return &line
}

// Refresh asks the upstreams what tags name, and calls each with the lines of the response
// and what they stand for.
func (c *Client) Refresh(ctx context.Context, names []string, each func(raw []byte, line RefreshLine)) error {
	return c.lines(ctx, http.MethodPost, "/v1/refresh", url.Values{"image": names}, nil, func(raw []byte) error {
		var line RefreshLine
		err := json.Unmarshal(raw, &line)
		if err == nil {
			each(raw, line)
		}
		return err
	})
}
