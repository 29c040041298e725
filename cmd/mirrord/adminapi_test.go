package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"mirrord/internal/admin"
	"mirrord/internal/hubsim"
	"mirrord/test/objectstore"
)

// apiCase is a request to the admin API and the status that it has. What the response
// consists of is in docs/admin-api.yaml.
type apiCase struct {
	route  string // as in admin.Routes
	query  string
	body   string // JSON, or for an import the name of a response before it
	status int
}

var apiCases = []apiCase{
	{"GET /", "", "", 200},
	{"GET /status.css", "", "", 200},
	{"GET /status.js", "", "", 200},
	{"GET /icon.svg", "", "", 200},
	{"GET /healthz", "", "", 200},
	{"GET /readyz", "", "", 200},
	{"GET /metrics", "", "", 200},
	{"GET /quota", "", "", 200},
	{"GET /verify", "", "", 200},
	{"POST /verify", "", "", 200},
	{"POST /verify", "dir=/elsewhere", "", 409},
	{"GET /v1/images", "", "", 200},
	{"GET /v1/images", "names=true", "", 200},
	{"GET /v1/images", "pattern=[", "", 400},
	{"GET /v1/explain", "image=app:v1", "", 200},
	{"GET /v1/explain", "image=app:nothing", "", 200},
	{"GET /v1/explain", "image=", "", 400},
	{"POST /v1/pins", "pattern=app:v1", "", 200},
	{"POST /v1/pins", "pattern=absent:*", "", 400},
	{"GET /v1/pins", "", "", 200},
	{"POST /v1/purge", "pattern=app:v1", "", 409},
	{"DELETE /v1/pins", "pattern=app:v1", "", 200},
	{"POST /v1/refresh", "image=app:v1", "", 200},
	{"POST /v1/refresh", "image=app:nothing", "", 200},
	{"GET /v1/status", "", "", 200},
	{"GET /v1/history", "", "", 200},
	{"GET /v1/warm/lists", "", "", 200},
	{"GET /v1/notify", "", "", 200},
	{"POST /v1/notify/test", "", "", 200},
	{"POST /v1/notify/test", "name=none", "", 400},
	{"POST /v1/warm", "plan=true", `{"images":[{"name":"app:v1"},{"name":"other:v1"},{"name":"absent:v1"}]}`, 200},
	{"POST /v1/warm", "", `{"images":[{"name":"app:v1"},{"name":"absent:v1"}]}`, 200},
	{"POST /v1/warm", "", `{"list":"base"}`, 200},
	{"POST /v1/warm", "", `{"list":"none"}`, 400},
	{"POST /v1/warm", "", `{`, 400},
	{"POST /v1/export", "image=app:v1&fetch=true", "", 200}, // which waits for what is written still
	{"POST /v1/export", "image=absent:v1", "", 400},
	{"POST /v1/import-archive", "force=true", "POST /v1/export", 200},
	{"POST /v1/import-archive", "", "", 200}, // which says that it is truncated
	{"POST /v1/import", "upstream=docker.io&dir=/nowhere", "", 200},
	{"POST /v1/purge", "pattern=app:v1&dry_run=true", "", 200},
	{"POST /v1/purge", "pattern=app:v1", "", 200},
	{"GET /v1/fleet", "", "", 200},
	{"POST /v1/fleet/gc", "dry_run=true", "", 200},
	{"POST /v1/fleet/gc", "", "", 200},
	{"POST /v1/gc", "older_than=720h&dry_run=true", "", 200},
	{"POST /v1/gc", "older_than=0s", "", 200},
	{"POST /v1/gc", "older_than=soon", "", 400},
	{"POST /v1/doctor", "", "", 200},
}

// apiElsewhere are the routes of whose responses other tests look at more than one event.
var apiElsewhere = []string{"GET /v1/live"}

// Every response of the admin API of a real mirror is as docs/admin-api.yaml has it: each
// of its fields is described, and no required one is missing.
func TestAdminAPIResponses(t *testing.T) {
	api := describedAPI(t)
	hub, err := hubsim.Start(hubsim.Options{Limit: 100})
	check(t, err)
	defer hub.Close()
	for name, seed := range map[string]string{"app:v1": "1", "other:v1": "2"} {
		check(t, addImage(hub, name, "2", seed))
	}
	m := newMirror(t)
	file := filepath.Join(m.home, "mirrord.yaml")
	check(t, os.WriteFile(file, []byte("upstreams: [{name: docker.io, url: '"+hub.URL()+"'}]\nfleet: {s3: "+startObjectStore(t)+"}\n"+
		"warm: {lists: [{name: base, images: ['app:v1'], schedule: '0 5 * * *'}]}\n"+
		"notify: [{name: ops, url: 'http://127.0.0.1:1', on: [degraded]}]\n"), 0o600))
	check(t, m.serve("--config", file))
	for range 2 {
		_, err := http.Get("http://" + m.mirror + "/v2/library/app/manifests/v1")
		check(t, err)
	}
	_, err = http.Get("http://" + m.mirror + "/v2/library/absent/manifests/v1")
	check(t, err)

	earlier := make(map[string][]byte) // bodies of responses, by route
	for _, c := range apiCases {
		body := []byte(c.body)
		if archive, ok := earlier[c.body]; ok {
			body = archive
		}
		check(t, m.await("mirrord_fills_in_flight", "0")) // what was fetched is on the disk
		response, raw := m.request(t, c, body)
		if c.status == http.StatusOK {
			earlier[c.route] = raw
		}
		if response.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d: %.300s", c.route, c.query, response.StatusCode, c.status, raw)
			continue
		}
		if err := api.check(c, response.Header.Get("Content-Type"), raw); err != nil {
			t.Errorf("%s %s: %v\n%.600s", c.route, c.query, err, raw)
		}
	}
	for _, route := range admin.Routes() {
		if !slices.Contains(apiElsewhere, route) && !slices.ContainsFunc(apiCases, func(c apiCase) bool { return c.route == route }) {
			t.Errorf("no case asks for %s", route)
		}
	}
}

// request sends the request of c with the token.
func (p *process) request(t *testing.T, c apiCase, body []byte) (*http.Response, []byte) {
	t.Helper()
	method, path, _ := strings.Cut(c.route, " ")
	query, err := url.ParseQuery(c.query)
	check(t, err)
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.admin+path+"?"+query.Encode(), bytes.NewReader(body))
	check(t, err)
	token, err := os.ReadFile(filepath.Join(p.cache, "admin-token"))
	check(t, err)
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	if strings.HasPrefix(c.body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(r)
	check(t, err)
	raw, err := io.ReadAll(response.Body)
	check(t, err)
	check(t, response.Body.Close())
	return response, raw
}

// startObjectStore starts an object store until the test ends, and returns fleet.s3 for it.
func startObjectStore(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	store, err := objectstore.New(dir)
	check(t, err)
	check(t, store.Start())
	t.Cleanup(func() { _ = store.Stop() })
	key := filepath.Join(dir, "key")
	check(t, os.WriteFile(key, []byte(objectstore.SecretKey), 0o600))
	return "{endpoint: '" + store.URL() + "', bucket: " + objectstore.Bucket + ", region: " + objectstore.Region +
		", path_style: true, access_key: " + objectstore.AccessKey + ", secret_key_file: " + key + "}"
}

// apiDescription is docs/admin-api.yaml. The schemas of OpenAPI 3.1 are those of JSON
// Schema 2020-12, in which each object has no other fields than those it names, here.
type apiDescription struct {
	document map[string]any
	compiler *jsonschema.Compiler
}

const apiURL = "https://mirror.example/admin-api.json"

func describedAPI(t *testing.T) *apiDescription {
	t.Helper()
	raw, err := os.ReadFile("../../docs/admin-api.yaml")
	check(t, err)
	converted, err := yaml.YAMLToJSON(raw)
	check(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(converted))
	check(t, err)
	closeObjects(document, extended(document))
	api := &apiDescription{document.(map[string]any), jsonschema.NewCompiler()}
	api.compiler.DefaultDraft(jsonschema.Draft2020)
	api.compiler.AssertFormat()
	check(t, api.compiler.AddResource(apiURL, document))
	return api
}

// extended returns the schemas that others add fields to, as they are referred to.
func extended(node any) (paths []string) {
	each(node, func(node map[string]any) {
		all, _ := node["allOf"].([]any)
		for _, part := range all {
			if ref, ok := part.(map[string]any)["$ref"].(string); ok {
				paths = append(paths, ref)
			}
		}
	})
	return paths
}

// closeObjects lets no object have fields that it does not name.
func closeObjects(document any, extended []string) {
	schemas := document.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any)
	for name, schema := range schemas {
		if slices.Contains(extended, "#/components/schemas/"+name) {
			// closed where it is extended
		} else if object := schema.(map[string]any); object["additionalProperties"] == nil {
			object["unevaluatedProperties"] = false
		}
	}
}

// each calls f with all mappings in node.
func each(node any, f func(map[string]any)) {
	switch node := node.(type) {
	case map[string]any:
		f(node)
		for _, child := range node {
			each(child, f)
		}
	case []any:
		for _, child := range node {
			each(child, f)
		}
	}
}

// check holds a response against its description.
func (a *apiDescription) check(c apiCase, contentType string, raw []byte) error {
	method, path, _ := strings.Cut(c.route, " ")
	pointer := "/paths/" + strings.ReplaceAll(path, "/", "~1") + "/" + strings.ToLower(method) + "/responses/" + fmt.Sprint(c.status)
	response, _ := a.at(pointer).(map[string]any)
	if ref, ok := response["$ref"].(string); ok {
		pointer = strings.TrimPrefix(ref, "#")
		response, _ = a.at(pointer).(map[string]any)
	}
	content, _ := response["content"].(map[string]any)
	kind, _, _ := strings.Cut(contentType, ";")
	if _, ok := content[kind]; !ok {
		return fmt.Errorf("a %d of type %s is not described", c.status, kind)
	}
	var texts [][]byte
	switch kind {
	case "application/json":
		texts = [][]byte{raw}
	case "application/x-ndjson":
		texts = bytes.Split(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n"))
	default:
		return nil
	}
	schema, err := a.compiler.Compile(apiURL + "#" + pointer + "/content/" + strings.ReplaceAll(kind, "/", "~1") + "/schema")
	if err != nil {
		return err
	}
	for _, text := range texts {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return err
		}
		if err := schema.Validate(value); err != nil {
			return err
		}
	}
	return nil
}

// at returns what a JSON pointer leads to, or nil.
func (a *apiDescription) at(pointer string) any {
	var node any = a.document
	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		mapping, _ := node.(map[string]any)
		node = mapping[strings.ReplaceAll(name, "~1", "/")]
	}
	return node
}
