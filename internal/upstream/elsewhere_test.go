package upstream

import (
	"net/http"
	"strings"
	"testing"

	"mirrord/internal/oci"
)

// Some registries redirect manifests: the storage must know what is accepted,
// and says what does not exist.
func TestManifestOnStorageHost(t *testing.T) {
	t.Parallel()
	storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != acceptManifests || strings.HasSuffix(r.URL.Path, "absent") {
			answer(404, "", version...)(w, r)
			return
		}
		answer(200, "{}", "Content-Type", imageType)(w, r)
	})
	s := serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, storage.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	c := connect(t, s.URL)
	if raw, err := read(t, c, manifestRef(t, "v1")); err != nil || string(raw) != "{}" {
		t.Errorf("%q, %v", raw, err)
	}
	_, err := read(t, c, manifestRef(t, "absent"))
	c.wantCode(t, err, oci.ManifestUnknown)
	_, err = read(t, c, blobRef(t, oci.FromBytes(nil)))
	c.wantCode(t, err, oci.Unavailable) // the registry knows it, its storage does not
}

// What stands before the storage says nothing of a manifest.
func TestManifestOnStorageHostBehindAFilter(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403, 404} {
		storage := serve(t, answer(status, "<html>Blocked", "Content-Type", "text/html"))
		s := serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, storage.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}))
		c := connect(t, s.URL)
		_, err := read(t, c, manifestRef(t, "v1"))
		c.wantCode(t, err, oci.Unavailable)
		_, err = c.Resolve(t.Context(), manifestRef(t, "v1"))
		c.wantCode(t, err, oci.Unavailable)
	}
}
