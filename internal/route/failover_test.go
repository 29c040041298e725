package route_test

import (
	"errors"
	"io"
	"testing"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/route"
)

// A fallback is asked only while the registry says nothing about the content.
func TestFailover(t *testing.T) {
	t.Parallel()
	down := oci.Errorf(oci.Unavailable, "down")
	missing := oci.Errorf(oci.ManifestUnknown, "missing")
	for name, test := range map[string]struct {
		first, second error // nil: it has the content
		asked         int   // how often the second is
		want          error
	}{
		"both have it":           {nil, nil, 0, nil},
		"down":                   {down, nil, 1, nil},
		"limited":                {&oci.LimitError{Kind: oci.LimitPulls}, nil, 1, nil},
		"missing":                {missing, nil, 0, missing},
		"down, missing there":    {down, missing, 1, down},
		"both down":              {down, oci.Errorf(oci.Unavailable, "also down"), 1, down},
		"a HEAD says not enough": {oci.Errorf(oci.Unavailable, "%w", oci.ErrNeedsGet), nil, 0, oci.ErrNeedsGet},
	} {
		first, second := new(ocitest.Fake), new(ocitest.Fake)
		for _, fake := range []*ocitest.Fake{first, second} {
			fake.AddManifest("a", "b", "application/vnd.oci.image.manifest.v1+json", []byte("{}"))
		}
		first.Fail(func(ocitest.Call) error { return test.first })
		second.Fail(func(ocitest.Call) error { return test.second })
		failover := route.Failover{first, second}
		ref, err := oci.ParseManifest(ocitest.Upstream, "a", "b")
		if err != nil {
			t.Fatal(err)
		}
		result, err := failover.Resolve(t.Context(), ref)
		if !errors.Is(err, test.want) || err == nil && (result.Reason == oci.StaleFallback) != (test.asked > 0) {
			t.Errorf("%s: Resolve: %+v, %v, want %v", name, result, err, test.want)
		}
		content, err := failover.Open(t.Context(), ref.At(oci.FromBytes([]byte("{}"))))
		if !errors.Is(err, test.want) {
			t.Errorf("%s: Open: %v, want %v", name, err, test.want)
		}
		if err == nil {
			if raw, err := io.ReadAll(content.Body); string(raw) != "{}" || err != nil || content.Close() != nil {
				t.Errorf("%s: %q, %v", name, raw, err)
			}
		}
		if n := second.Calls("Resolve", "b"); n != test.asked {
			t.Errorf("%s: the fallback was asked %d times, want %d", name, n, test.asked)
		}
	}
}
