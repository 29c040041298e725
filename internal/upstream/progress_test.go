package upstream

import (
	"sync"
	"sync/atomic"
	"testing"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// Whoever waits is told of all that comes: for a token, a HEAD and a GET over a
// new connection, and each of several who wait for one token.
func TestProgressIsReported(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	h.AddManifest(repo, "v1", imageType, []byte("{}"))
	c := connect(t, h.URL())
	ref, err := oci.ParseManifest(oci.DockerHub, repo, "v1")
	check(t, err)
	var clients sync.WaitGroup
	for range 5 {
		clients.Go(func() {
			var told atomic.Int32
			if _, err := c.Resolve(oci.WithProgress(t.Context(), func() { told.Add(1) }), ref); err != nil {
				t.Error(err)
			}
			if told.Load() < 2 {
				t.Errorf("told %d times of a token and an answer", told.Load())
			}
		})
	}
	clients.Wait()
	var told atomic.Int32
	content, err := c.Open(oci.WithProgress(t.Context(), func() { told.Add(1) }), ref)
	check(t, err)
	check(t, content.Close())
	if told.Load() < 3 { // the token is known, the answer has begun, and all of it has come
		t.Errorf("told %d times of a manifest", told.Load())
	}
}
