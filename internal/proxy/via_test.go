package proxy

import (
	"context"
	"net/http"
	"testing"

	"github.com/dunglas/httpsfv"

	"mirrord/internal/oci"
)

// Every Via has a Cache-Status, which is a list of structured fields: RFC 9211.
func TestCacheStatus(t *testing.T) {
	t.Parallel()
	for _, via := range []oci.Via{oci.Hit, oci.Known, oci.Revalidated, oci.Fill, oci.Stale, oci.Pass} {
		var header http.Header = make(map[string][]string)
		setVia(header, via)
		list, err := httpsfv.UnmarshalList(header["Cache-Status"])
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %q: %v", via, header.Get("Cache-Status"), err)
			continue
		}
		status, ok := list[0].(httpsfv.Item)
		_, hit := status.Params.Get("hit")
		_, forwarded := status.Params.Get("fwd")
		if !ok || status.Value != httpsfv.Token("mirrord") || hit == forwarded {
			t.Errorf("%s: %q", via, header.Get("Cache-Status"))
		}
	}
	m := start(t, filled())
	for method, path := range map[string]string{http.MethodGet: blobPath, http.MethodHead: blobPath} {
		m.do(method, path).wantHeader(t, "Cache-Status", cacheStatuses[oci.Pass], viaHeader, "pass")
	}
}

// What a client demands with Cache-Control reaches the Registry.
func TestDemands(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"": false, "no-cache": true, "max-age=0": true, "No-Cache , no-store": true, "no-store": false, "max-age=60": false, "x-no-cache": false,
	} {
		var got bool
		m := start(t, scripted{resolve: func(ctx context.Context, _ oci.Ref) (oci.Result, error) {
			got = oci.NoCache(ctx)
			return oci.Result{Via: oci.Hit}, nil
		}})
		m.do(http.MethodHead, "/v2/a/manifests/3", "Cache-Control", value)
		if got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}
