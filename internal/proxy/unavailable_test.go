package proxy

import (
	"net/http"
	"testing"
	"time"

	"mirrord/internal/oci"
)

// Clients that retry after a 503 get a 403 for a limit that outlasts their retries;
// other clients do not, and signatures never do.
func TestRetryingClients(t *testing.T) {
	t.Parallel()
	for wait, status := range map[time.Duration]int{time.Hour: 403, time.Second: 503} {
		m := start(t, failing(&oci.LimitError{Kind: oci.LimitPulls, RetryAt: time.Now().Add(wait)}))
		for agent, status := range map[string]int{
			"crane/v0.22.1 go-containerregistry/v0.22.1": status,
			"oras/1.3.6":     status,
			"buildkit/v0.34": status,
			"cosign/devel (linux; amd64) go-containerregistry": 503,
			"containerd/2.1.9": 503,
			"containers/5.39.2 (github.com/containers/image)": 503,
			"Mozilla/5.0 crane/v0.22.1":                       503,
			"":                                                503,
		} {
			for _, path := range []string{"/v2/team/app/manifests/3", "/v2/team/app/manifests/" + imageRef} {
				m.do(http.MethodGet, path, "User-Agent", agent).wantError(t, status, oci.TooManyRequests)
				head := m.do(http.MethodHead, path, "User-Agent", agent).want(t, status, "")
				if head.Header.Get("Retry-After") == "" || head.Header.Get("Warning") == "" {
					t.Errorf("%s: %v", agent, head.Header)
				}
			}
			for _, path := range []string{signatures, "/v2/team/app/referrers/" + imageRef, "/v2/team/app/tags/list"} {
				m.do(http.MethodGet, path, "User-Agent", agent).wantError(t, 503, oci.TooManyRequests)
			}
			m.do(http.MethodGet, blobPath, "User-Agent", agent).wantError(t, 404, oci.BlobUnknown)
		}
	}
	down := start(t, failing(oci.Errorf(oci.Unavailable, "no")))
	down.do(http.MethodGet, "/v2/team/app/manifests/3", "User-Agent", "crane/v0.22.1").wantError(t, 503, oci.Unavailable)
}
