package access

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

const (
	maxConfigSize = 8 << 20 // bytes of a configuration, as containerd reads
	maxAges       = 1 << 16 // digests whose date is remembered
)

// Age is the Requirement that an image was created some time ago, according to its
// configuration: whoever builds it writes the date. An artifact that is not an image
// has the date of its annotation. What has no date is old, and so are signatures, and an
// index, whose images are checked when they are pulled.
type Age struct {
	min     time.Duration
	created *lru.Cache[oci.Digest, time.Time] // zero: no date
}

// NewAge returns the requirement of an age of min.
func NewAge(min time.Duration) *Age {
	created, err := lru.New[oci.Digest, time.Time](maxAges)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &Age{min: min, created: created}
}

// Check implements Requirement.
func (a *Age) Check(ctx context.Context, next oci.Registry, ref oci.Ref, _ string) error {
	created, ok := a.created.Get(ref.Digest())
	if !ok {
		var err error
		if created, err = createdAt(ctx, next, ref); err != nil {
			return err
		}
		a.created.Add(ref.Digest(), created)
	}
	return a.judge(created)
}

func (a *Age) judge(created time.Time) error {
	age := time.Since(created)
	if age >= a.min {
		return nil
	}
	has := "it is " + span(age) + " old"
	if age < 0 {
		has = "its date is in the future"
	}
	return oci.Errorf(oci.Denied, "%s (created %s), and %s are required; it is allowed from %s on",
		has, moment(created), span(a.min), moment(created.Add(a.min)))
}

// span writes an age as people do: in days, if it has some.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.Truncate(time.Second).String()
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// createdAt returns the date of the manifest ref, zero if it has none.
func createdAt(ctx context.Context, next oci.Registry, ref oci.Ref) (time.Time, error) {
	m, err := openManifest(ctx, next, ref)
	switch {
	case err != nil:
		return time.Time{}, err
	case m.mediaType == oci.DockerSchema1:
		return time.Time{}, oci.Errorf(oci.Denied, "its age cannot be checked: it has the old format of Docker, schema 1")
	case m.isIndex() || m.isSignature():
		return time.Time{}, nil
	case !m.isImage():
		return parseDate(m.Annotations[ocispec.AnnotationCreated]), nil
	}
	raw, err := readBlob(ctx, next, ref, m.Config.Digest, maxConfigSize)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the configuration of the image: %w", err)
	}
	var config struct {
		Created string `json:"created"`
	}
	if json.Unmarshal(raw, &config) != nil {
		return time.Time{}, nil
	}
	return parseDate(config.Created), nil
}

// parseDate returns the zero time for what is not a date.
func parseDate(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}
