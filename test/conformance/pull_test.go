package conformance

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

const (
	imageType = imgspec.MediaTypeImageManifest
	indexType = imgspec.MediaTypeImageIndex
	blobType  = "application/octet-stream"
)

// config and layer are the members of an image manifest.
var (
	config = fmt.Sprintf(`"config":{"mediaType":%q,"digest":%q,"size":2}`, imgspec.MediaTypeImageConfig, digest.FromString("{}"))
	layers = fmt.Sprintf(`"layers":[{"mediaType":%q,"digest":%q,"size":5}]`, imgspec.MediaTypeImageLayerGzip, digest.FromString("layer"))
)

// document returns a manifest with that mediaType, if it has one, and members.
func document(mediaType string, members ...string) []byte {
	all := []string{`"schemaVersion":2`}
	if mediaType != "" {
		all = append(all, fmt.Sprintf(`"mediaType":%q`, mediaType))
	}
	return []byte("{" + strings.Join(append(all, members...), ",") + "}")
}

// indexOf returns an index of manifests.
func indexOf(mediaType string, manifests ...[]byte) []byte {
	var list []string
	for _, raw := range manifests {
		list = append(list, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest.FromBytes(raw), len(raw)))
	}
	return document(indexType, `"manifests":[`+strings.Join(list, ",")+"]")
}

// A manifest of any kind is served byte for byte, by tag and by digest, with its media
// type, digest and size.
func TestManifests(t *testing.T) {
	t.Parallel()
	image := document(imageType, config, layers)
	index := indexOf(imageType, image)
	for name, test := range map[string]struct {
		mediaType string
		raw       []byte
	}{
		"image":                {imageType, image},
		"without mediaType":    {imageType, document("", config, layers)},
		"without layers":       {imageType, document(imageType, config, `"layers":[]`)},
		"artifact":             {imageType, document(imageType, `"artifactType":"application/vnd.example+type"`, config, layers)},
		"unknown fields":       {imageType, document(imageType, config, layers, ` "x-example" : { "a" : [ 1.0 , "\u00e9" ] }`)},
		"not distributable":    {imageType, document(imageType, config, nonDistributable("foreign"))},
		"index":                {indexType, index},
		"empty index":          {indexType, indexOf(imageType)},
		"nested index":         {indexType, indexOf(indexType, index)},
		"index of an artifact": {indexType, document(indexType, `"artifactType":"application/vnd.example+type"`, `"manifests":[]`)},
		"docker image":         {oci.DockerManifest, document(oci.DockerManifest, config, layers)},
		"docker list":          {oci.DockerManifestList, document(oci.DockerManifestList, `"manifests":[]`)},
		"unknown media type":   {"application/vnd.example.thing.v1+json", document("application/vnd.example.thing.v1+json", `"things":[]`)},
		"3.9 MB":               {imageType, document(imageType, config, layers, padding(3_900_000))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, m := newHub(t)
			d := hub.AddManifest(repo, "v1", test.mediaType, test.raw).String()
			m.want("manifests/v1", test.raw, test.mediaType, d)
			m.want("manifests/"+d, test.raw, test.mediaType, d)
			untagged := slices.Concat(test.raw, []byte("\n"))
			d = hub.AddManifest(repo, "", test.mediaType, untagged).String()
			m.want("manifests/"+d, untagged, test.mediaType, d)
		})
	}
}

func padding(size int) string { return `"padding":"` + strings.Repeat("x", size) + `"` }

// nonDistributable returns the layers of an image whose content may not be pushed.
func nonDistributable(content string) string {
	return fmt.Sprintf(`"layers":[{"mediaType":%q,"digest":%q,"size":%d,"urls":["https://example.com/layer"]}]`,
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", digest.FromString(content), len(content))
}

// A manifest has up to 4 MiB. A larger one is refused without its bytes.
func TestManifestLimit(t *testing.T) {
	t.Parallel()
	hub, m := newHub(t)
	small := len(document(imageType, config, layers, padding(0)))
	largest := document(imageType, config, layers, padding(oci.MaxManifestSize-small))
	d := hub.AddManifest(repo, "largest", imageType, largest).String()
	m.want("manifests/largest", largest, imageType, d)
	larger := hub.AddManifest(repo, "larger", imageType, slices.Concat(largest, []byte("\n"))).String()
	for _, path := range []string{"manifests/larger", "manifests/" + larger} {
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			if r := m.do(method, path); r.StatusCode != http.StatusServiceUnavailable || len(r.body) > 1000 {
				t.Errorf("%s %s: %s with %d bytes", method, path, r.Status, len(r.body))
			}
		}
	}
}

// A blob is served with its digest and size, whatever it has: an empty one too. One
// that was never pushed, such as a layer that may not be, is not found.
func TestBlobs(t *testing.T) {
	t.Parallel()
	hub, m := newHub(t)
	for _, content := range [][]byte{{}, {0}, []byte("{}"), ocitest.Content(300_000, 1)} {
		d := hub.AddBlob(repo, content).String()
		m.want("blobs/"+d, content, blobType, d)
	}
	foreign := document(imageType, config, nonDistributable("foreign"))
	hub.AddManifest(repo, "foreign", imageType, foreign)
	m.want("manifests/foreign", foreign, imageType, digest.FromBytes(foreign).String())
	m.wantError("blobs/"+digest.FromString("foreign").String(), http.StatusNotFound, "BLOB_UNKNOWN")
}

// Content is found by the digest that the client has, whichever algorithm the spec
// allows that is.
func TestSHA512(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	m := newMirror(t, server.URL)
	manifest, blob := document(imageType, config, layers), ocitest.Content(300_000, 1)
	for _, content := range [][]byte{blob, {}} {
		d := digest.SHA512.FromBytes(content).String()
		push(t, http.MethodPost, server.URL+"/v2/"+repo+"/blobs/uploads/?digest="+d, "", content)
		m.want("blobs/"+d, content, blobType, d)
	}
	d := digest.SHA512.FromBytes(manifest).String()
	push(t, http.MethodPut, server.URL+"/v2/"+repo+"/manifests/"+d, imageType, manifest)
	m.want("manifests/"+d, manifest, imageType, d)
	m.wantError("blobs/"+digest.SHA512.FromString("missing").String(), http.StatusNotFound, "BLOB_UNKNOWN")
	m.wantError("manifests/"+digest.SHA512.FromString("missing").String(), http.StatusNotFound, "MANIFEST_UNKNOWN")
}

func push(t *testing.T, method, url, contentType string, content []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(content))
	check(t, err)
	req.Header.Set("Content-Type", contentType)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	check(t, err)
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
}

// What does not exist is 404 and what is not a digest 400, with the code of the spec.
func TestErrorCodes(t *testing.T) {
	t.Parallel()
	hub, m := newHub(t)
	hub.AddManifest(repo, "v1", imageType, document(imageType, config, layers))
	absent := digest.FromString("absent").String()
	m.wantError("manifests/absent", http.StatusNotFound, "MANIFEST_UNKNOWN")
	m.wantError("manifests/"+absent, http.StatusNotFound, "MANIFEST_UNKNOWN")
	m.wantError("manifests/-not-a-tag", http.StatusNotFound, "MANIFEST_UNKNOWN")
	m.wantError("blobs/"+absent, http.StatusNotFound, "BLOB_UNKNOWN")
	for _, path := range []string{"manifests/sha256:baddigest", "blobs/sha256:baddigest", "blobs/v1", "referrers/v1", "referrers/sha256:baddigest"} {
		m.wantError(path, http.StatusBadRequest, "DIGEST_INVALID")
	}
	m.url = strings.Replace(m.url, repo, "Team/app", 1)
	for _, path := range []string{"manifests/v1", "blobs/" + absent, "tags/list", "referrers/" + absent} {
		m.wantError(path, http.StatusNotFound, "NAME_INVALID")
	}
	m.url = strings.Replace(m.url, "Team/app", "team/absent", 1)
	for _, path := range []string{"manifests/v1", "blobs/" + absent, "tags/list", "referrers/" + absent} {
		m.wantError(path, http.StatusNotFound, "NAME_UNKNOWN")
	}
}
