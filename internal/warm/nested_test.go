package warm_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/warm"
)

// addIndex adds an index of children to the hub, under a tag.
func (w *world) addIndex(t *testing.T, tag string, children ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	m := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: children}
	m.SchemaVersion = 2
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return ocispec.Descriptor{MediaType: m.MediaType, Digest: w.hub.AddManifest("acme/app", tag, m.MediaType, raw), Size: int64(len(raw))}
}

// An image whose indexes name the same ones over and over costs one pull for each, and one
// with more manifests than any image has costs its own alone.
func TestWarmHostileIndexes(t *testing.T) {
	w := start(t, 100, 0)
	nested := w.addIndex(t, "inner")
	for depth := range 6 {
		nested = w.addIndex(t, fmt.Sprintf("nested%d", depth), slices.Repeat([]ocispec.Descriptor{nested}, 1000)...)
	}
	var many []ocispec.Descriptor
	for i := range 300 {
		many = append(many, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: oci.FromBytes(fmt.Append(nil, i)), Size: 100})
	}
	w.addIndex(t, "many", many...)
	for name, test := range map[string]struct {
		pulls int64
		want  string // in the error
	}{"nested5": {7, ""}, "many": {1, "more than 200 manifests"}} {
		before := w.hub.Counters().ManifestGETs
		job := warm.Job{Images: []warm.Image{{Name: "acme/app:" + name}}, Platforms: []string{warm.AllPlatforms}}
		failure := ""
		if _, err := w.warmer.Run(t.Context(), job, warm.Report{Result: func(r warm.Result) { failure = r.Error }}); err != nil {
			t.Error(err)
		}
		if pulls := w.hub.Counters().ManifestGETs - before; int64(pulls) != test.pulls || !strings.Contains(failure, test.want) || (failure == "") != (test.want == "") {
			t.Errorf("%s: %d pulls, %q", name, pulls, failure)
		}
		w.settle()
		plan, err := w.warmer.Plan(t.Context(), job)
		if err != nil || plan.TotalPulls() != 0 || plan.Failed > 0 != (test.want != "") {
			t.Errorf("%s: plan: %+v, %v", name, plan, err)
		}
	}
}
