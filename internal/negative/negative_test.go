package negative

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func TestNote(t *testing.T) {
	notFound := oci.Errorf(oci.ManifestUnknown, "no such tag")
	useless := &oci.Error{Code: oci.Unavailable, Message: "another manifest", Err: oci.ErrUnusable}
	for _, test := range []struct {
		tag        string
		err        error
		remembered bool
	}{
		{"v1", notFound, true},
		{"v1", oci.Errorf(oci.NameUnknown, "no such repository"), true},
		{"v1", useless, true},
		{"v1", nil, false},
		{"v1", oci.Errorf(oci.Denied, "no"), false},
		{"v1", oci.Errorf(oci.Unavailable, "down"), false},
		{"sha256-" + strings.Repeat("0", 64) + ".sig", notFound, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := New()
			ref := ocitest.ManifestRef(t, test.tag)
			c.Note(ref, test.err)
			if err := c.Recall(ref); (err != nil) != test.remembered || err != nil && !errors.Is(err, test.err) {
				t.Errorf("%s, %v: recalled as %v", test.tag, test.err, err)
			}
			<-time.After(lifetime + time.Second)
			if err := c.Recall(ref); err != nil {
				t.Errorf("%s: still recalled after %s: %v", test.tag, lifetime, err)
			}
		})
	}
}

// A manifest and a blob of one digest are two entries.
func TestKinds(t *testing.T) {
	c := New()
	d := oci.FromBytes(nil)
	c.Note(ocitest.BlobRef(t, d), oci.Errorf(oci.BlobUnknown, "no such blob"))
	if err := c.Recall(ocitest.ManifestRef(t, d.String())); err != nil {
		t.Errorf("the manifest of a missing blob: %v", err)
	}
}

func TestBound(t *testing.T) {
	c := New()
	for i := range 10_000 {
		c.Note(ocitest.ManifestRef(t, fmt.Sprint("v", i)), oci.Errorf(oci.ManifestUnknown, "no such tag"))
	}
	if size := c.errors.Size(); size > maxBytes || c.errors.Len() == 0 {
		t.Errorf("%d bytes in %d entries", size, c.errors.Len())
	}
}
