package registries

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
)

// response is what a client has received.
type response struct {
	*http.Response
	body []byte
}

func (m *mirror) get(path string, header ...string) response {
	m.t.Helper()
	return m.send(http.MethodGet, path, header...)
}

// send sends a request with that header to the mirror, and checks that nothing which
// the registry sent for the mirror alone has reached the client.
func (m *mirror) send(method, path string, header ...string) response {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), method, "http://"+m.at+path, nil)
	check(m.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := m.client.Do(req)
	check(m.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	check(m.t, err)
	for _, name := range []string{"Set-Cookie", "Www-Authenticate", "Location"} {
		if value := resp.Header.Get(name); value != "" {
			m.t.Errorf("%s %s: the client got %s: %s", method, path, name, value)
		}
	}
	return response{resp, body}
}

// content gets what repo has at path, such as "manifests/v1".
func (m *mirror) content(repo, path string, header ...string) response {
	m.t.Helper()
	return m.get("/v2/"+repo+"/"+path, header...)
}

// String returns the status with the code of the error, or that content is stale.
func (r response) String() string {
	words := fmt.Sprint(r.StatusCode)
	if strings.Contains(r.Header.Get("X-Mirrord-Cache"), "stale") {
		words += " stale"
	}
	var spec struct{ Errors []struct{ Code string } }
	if r.StatusCode != http.StatusOK && json.Unmarshal(r.body, &spec) == nil && len(spec.Errors) == 1 {
		words += " " + spec.Errors[0].Code
	}
	return words
}

// pull pulls the tag like a client: the index, its image, and their blobs. It returns
// the response to the tag.
func (m *mirror) pull() response {
	m.t.Helper()
	top := m.content(m.repo, "manifests/"+tag)
	if top.StatusCode == http.StatusOK {
		m.pullIndex(top)
	}
	return top
}

func (m *mirror) pullIndex(top response) {
	m.t.Helper()
	var index imgspec.Index
	m.read(top, indexType, digestOf(m.image.index), &index)
	for _, d := range index.Manifests {
		var image imgspec.Manifest
		m.read(m.content(m.repo, "manifests/"+d.Digest.String()), imageType, d.Digest.String(), &image)
		for _, b := range append(image.Layers, image.Config) {
			got := m.content(m.repo, "blobs/"+b.Digest.String())
			if got.StatusCode != http.StatusOK || digestOf(got.body) != b.Digest.String() || got.ContentLength != b.Size {
				m.t.Errorf("blob %s: %s with %s, length %d of %d: %.300s", b.Digest, got, digestOf(got.body), got.ContentLength, b.Size, got.body)
			}
		}
	}
}

// read checks a manifest against its header and reads it.
func (m *mirror) read(r response, mediaType, digest string, manifest any) {
	m.t.Helper()
	header := r.Header
	if r.StatusCode != http.StatusOK || digestOf(r.body) != digest || header.Get("Docker-Content-Digest") != digest || header.Get("Content-Type") != mediaType {
		m.t.Fatalf("%s: %s with %s, header %v: %.300s", digest, r, digestOf(r.body), header, r.body)
	}
	check(m.t, json.Unmarshal(r.body, manifest))
}

// tagsBy lists the tags, following the links from a query.
func (m *mirror) tagsBy(query string) string {
	m.t.Helper()
	var pages []string
	path := "/v2/" + m.repo + "/tags/list" + query
	for path != "" && len(pages) <= len(allTags) {
		r := m.get(path)
		var list struct{ Tags []string }
		if r.StatusCode != http.StatusOK || json.Unmarshal(r.body, &list) != nil {
			return r.String()
		}
		pages = append(pages, strings.Join(list.Tags, " "))
		path, _, _ = strings.Cut(strings.TrimPrefix(r.Header.Get("Link"), "<"), ">")
	}
	return strings.Join(pages, ", ")
}
