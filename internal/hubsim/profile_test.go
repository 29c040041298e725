package hubsim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const (
	profileBlob  = "content"
	profileImage = `{"schemaVersion":2}`
)

// exchange is a request to a registry and what its response is like.
type exchange struct {
	profile string
	request string   // "METHOD path"; a path that begins with / is of the host, others are below /v2/
	header  string   // of the request, one in a line: "Name: value"
	status  int      // of the response
	want    []string // its headers, "Name: value" or "Name:" when it has none, and parts of its body
}

// exchanges has a line for everything in which a profile differs from Docker Hub. In
// it TOKEN stands for the header with a token for the image, LOGIN for that with the
// login, BLOB for the path of a blob.
var exchanges = []exchange{
	{"ghcr", "GET ", "", 401, []string{`Www-Authenticate: Bearer realm="REALM",service="ghcr.io",scope="repository:user/image:pull"`}},
	{"ghcr", "GET REALM?scope=repository:a/secret:pull", "", 401, []string{"UNAUTHORIZED", "Www-Authenticate:"}},
	{"ghcr", "GET REALM?scope=repository:library/test:pull", "", 200, []string{`{"token":"`}},
	{"ghcr", "GET REALM", "WRONG", 403, []string{"DENIED"}},
	{"ghcr", "HEAD BLOB", "TOKEN", 307, []string{"Content-Length: 0"}},
	{"ghcr", "GET library/test/referrers/DIGEST", "TOKEN", 303, []string{"Location: OTHER/library/test"}},
	{"ghcr", "GET OTHER/library/test", "", 200, []string{"Content-Type: text/html; charset=utf-8"}},

	{"quay", "GET ", "", 401, []string{"true"}},
	{"quay", "GET ", "TOKEN", 200, []string{"true"}},
	{"quay", "GET REALM?scope=repository:a/secret:pull", "", 200, []string{"token"}},
	{"quay", "GET a/secret/manifests/v1", "TOKEN", 401, []string{"UNAUTHORIZED"}},
	{"quay", "GET library/test/manifests/v1", "TOKEN", 200, []string{"schemaVersion\":1", "Content-Type: application/vnd.docker.distribution.manifest.v1+prettyjws"}},
	{"quay", "GET library/test/manifests/old", "TOKEN", 404, []string{"TAG_EXPIRED"}},
	{"quay", "GET BLOB", "TOKEN", 302, []string{"Cache-Control: max-age=31536000", "Content-Type: text/html; charset=utf-8", "<title>"}},
	{"quay", "GET library/test/tags/list?n=1", "TOKEN", 200, []string{`Link: </v2/library/test/tags/list?n=1&next_page=7631>; rel="next"`}},
	{"quay", "GET library/test/tags/list?next_page=7631", "TOKEN", 200, []string{`"tags":["v2"]`}},
	{"quay", "GET library/test/referrers/sha256:0000000000000000000000000000000000000000000000000000000000000000", "TOKEN", 400, []string{"MANIFEST_INVALID"}},

	{"k8s", "GET ", "", 200, []string{"{}"}},
	{"k8s", "GET library/test/manifests/v1", "", 307, []string{"Location: OTHER/v2/library/test/manifests/v1"}},
	{"k8s", "GET OTHER/v2/library/test/manifests/v1", "", 200, []string{profileImage}},
	{"k8s", "GET library/test/tags/list?n=1", "", 307, []string{"Location: OTHER/v2/library/test/tags/list"}},
	{"k8s", "GET library/test/referrers/DIGEST", "", 404, []string{"404 page not found"}},

	{"google", "GET ", "", 401, []string{`Www-Authenticate: Bearer realm="REALM"`}},
	{"google", "GET REALM?scope=repository:a:pull&scope=repository:b:pull", "", 400, []string{"UNSUPPORTED"}},
	{"google", "GET a/nothing/manifests/v1", "", 401, []string{`Www-Authenticate: Bearer realm="REALM",service="HOST",scope="repository:a/nothing:pull"`}},
	{"google", "GET BLOB", "TOKEN", 302, []string{"Location: /registry-v2/"}},
	{"google", "GET LINK", "TOKEN\nRange: bytes=0-1,3-4", 400, nil},
	{"google", "GET LINK", "TOKEN\nRange: bytes=0-1", 206, []string{"co"}},
	{"google", "GET library/test/tags/list", "TOKEN", 200, []string{`"child":[]`, `"manifest":{}`}},
	{"google", "GET library/test/referrers/DIGEST", "TOKEN", 302, []string{"Location: OTHER/signin"}},

	{"ecr-public", "GET library/test/manifests/v1", "Authorization: Bearer expired", 400, []string{"DENIED", "Www-Authenticate:"}},
	{"ecr-public", "GET library/test/manifests/v1", "TOKEN", 200, []string{"Docker-Content-Digest:"}},
	{"ecr-public", "HEAD library/test/manifests/v1", "TOKEN", 200, []string{"Docker-Content-Digest: DIGEST"}},
	{"ecr-public", "HEAD BLOB", "TOKEN", 401, nil},
	{"ecr-public", "GET BLOB", "TOKEN", 307, nil},

	{"gitlab", "GET REALM?service=other&scope=repository:library/test:pull", "", 400, nil},
	{"gitlab", "GET REALM?service=container_registry&scope=repository:a/secret:pull", "", 403, []string{"DENIED"}},

	{"lscr", "GET ", "", 401, []string{`Www-Authenticate: Bearer realm="OTHER/token",service="ghcr.io"`}},
	{"lscr", "GET library/test/tags/list?n=1", "User-Agent: docker/28.1", 307, []string{"Location: OTHER/v2/library/test/tags/list"}},
	{"lscr", "GET OTHER/v2/library/test/tags/list", "User-Agent: docker/28.1", 401, []string{"UNAUTHORIZED"}},
	{"lscr", "GET library/test/manifests/v1", "TOKEN\nUser-Agent: mirrord\nAccept: text/plain", 404, []string{"MANIFEST_UNKNOWN"}},
	{"lscr", "GET library/test/referrers/DIGEST", "TOKEN", 404, []string{"Content-Length: 0"}},

	{"mcr", "GET a/nothing/tags/list", "", 404, []string{"BlobNotFound", "Content-Type: application/xml"}},

	{"acr", "GET REALM?scope=repository:library/test:pull", "", 200, []string{`{"access_token":"`}},
	{"acr", "GET library/test/tags/list", "TOKEN", 401, []string{
		`Www-Authenticate: Bearer realm="REALM",service="HOST",scope="repository:library/test:metadata_read",error="insufficient_scope"`,
	}},
	{"acr", "GET library/test/tags/list?n=1", "LOGIN", 200, []string{`Link: </v2/library/test/tags/list?last=v1&n=1&orderby=>; rel="next"`}},
	{"acr", "GET BLOB", "TOKEN", 307, []string{"Docker-Content-Digest: sha256:"}},
	{"acr", "GET LINK", "TOKEN", 400, nil},
	{"acr", "GET LINK", "", 200, []string{"Docker-Content-Digest:"}},

	{"ecr", "GET ", "", 401, []string{`Www-Authenticate: Basic realm="`}},
	{"ecr", "GET library/test/manifests/v1", "WRONG", 403, []string{"DENIED", "Www-Authenticate:"}},
	{"ecr", "GET a/secret/manifests/v1", "LOGIN", 403, []string{"DENIED"}},
	{"ecr", "GET library/test/tags/list?n=1001", "LOGIN", 405, []string{"UNSUPPORTED"}},
	{"ecr", "GET library/test/tags/list", "LOGIN", 200, []string{`["v1","v2"]`}},

	{"ngc", "GET ", "", 401, []string{`Www-Authenticate: Bearer realm="REALM"`}},
	{"ngc", "GET library/test/manifests/v1", "", 401, []string{"<center>nginx"}},
	{"ngc", "GET library/test/manifests/v1", "Authorization: Bearer expired", 401, []string{`Www-Authenticate: Bearer realm="https://authn.example.org/token"`}},
	{"ngc", "GET library/test/manifests/v1", "TOKEN\nAccept: */*", 200, []string{"Content-Type: text/plain"}},

	{"redhat", "HEAD library/test/manifests/v1", "Accept: */*", 200, []string{"Docker-Content-Digest:"}},
	{"redhat", "GET library/test/manifests/v1", "Accept: */*", 200, []string{"Docker-Content-Digest:", "Content-Length:"}},
	{"redhat", "GET library/test/manifests/v1", "Accept: text/plain", 200, []string{`"schemaVersion":1`}},
	{"redhat", "GET LINK", "Accept-Encoding: gzip", 200, []string{"Content-Encoding: gzip"}},
	{"redhat", "GET LINK", "Accept-Encoding: identity", 200, []string{profileBlob}},

	{"oracle", "GET ", "", 401, []string{`Www-Authenticate: Bearer realm="REALM",service="Oracle Registry"`}},
	{"oracle", "GET REALM?service=Oracle", "", 400, nil},

	{"artifactory", "GET /v2/", "", 404, nil},
	{"artifactory", "HEAD library/test/manifests/v1", "TOKEN\nAccept: text/plain", 200, []string{"Content-Type: application/octet-stream", "Docker-Content-Digest:"}},
	{"artifactory", "GET library/test/manifests/v3", "TOKEN", 403, []string{"UNAUTHORIZED"}},
	{"artifactory", "GET a/nothing/manifests/v1", "LOGIN", 404, []string{`"status":404`}},
	{"artifactory", "GET library/test/tags/list?n=1", "TOKEN", 200, []string{"Link: </v2/library/test/tags/list"}},
	{"artifactory", "GET library/test/tags/list", "TOKEN\nAccept: " + imageType, 406, nil},

	{"nexus", "GET /v2/", "", 404, nil},
	{"nexus", "GET ", "", 401, []string{`Www-Authenticate: BASIC realm="Sonatype Nexus Repository Manager"`}},
	{"nexus", "GET ", "LOGIN", 200, nil},
	{"nexus", "GET library/test/tags/list?n=1", "LOGIN", 200, []string{"Link: </repository/another/v2/library/test/tags/list"}},

	{"gitea", "GET ", "", 401, []string{`Www-Authenticate: Basic realm="Gitea Container Registry", Bearer realm="REALM"`}},
	{"gitea", "GET library/test/manifests/v1", "", 401, []string{
		`Www-Authenticate: Bearer realm="REALM",service="container_registry",scope="*" | Basic realm="Gitea Container Registry"`,
	}},
	{"gitea", "GET library/test/manifests/v1", "TOKEN\nAccept: text/plain", 200, []string{profileImage}},
	{"gitea", "GET library/test/tags/list?n=1", "TOKEN", 200, []string{`["v1"]`, "Link:"}},

	{"zot", "GET ", "", 200, []string{"Www-Authenticate: basic realm=zot"}},
	{"zot", "GET library/test/manifests/v1", "", 401, []string{`{"code":"UNAUTHORIZED"`, "Www-Authenticate: basic realm=zot"}},
	{"zot", "GET library/test/tags/list?last=nothing", "LOGIN", 404, []string{"Content-Length: 0"}},

	{"distribution", "GET ", "", 200, nil},
	{"distribution", "GET BLOB", "TOKEN", 200, []string{profileBlob}},
	{"distribution", "GET library/test/referrers/DIGEST", "TOKEN", 404, []string{"404 page not found"}},

	{"harbor", "GET ", "", 401, []string{"Set-Cookie: sid=3f2504e0; Path=/; HttpOnly"}},
	{"harbor", "GET library/test/manifests/v1", "Authorization: Bearer expired", 401, []string{`Www-Authenticate: Basic realm="harbor"`}},
	{"harbor", "GET library/test/manifests/v1", "LOGIN", 200, []string{profileImage}},
	{"harbor", "GET hub/nginx/tags/list?n=1", "", 301, []string{"Location: /v2/hub/library/nginx/tags/list?n=1"}},
	{"harbor", "GET a/nothing/manifests/v1", "LOGIN", 404, []string{"NOT_FOUND"}},
	{"harbor", "GET a/nothing/tags/list", "LOGIN", 200, []string{`{"name":"a/nothing","tags":[]}`}},
}

func TestProfiles(t *testing.T) {
	for _, e := range exchanges {
		t.Run(e.profile+" "+e.request, func(t *testing.T) {
			p, ok := ProfileNamed(e.profile)
			if !ok {
				t.Fatal("there is no such profile")
			}
			h := start(t, Options{Profile: p, Users: map[string]string{"ann": "secret"}})
			h.AddManifest(repo, "v1", imageType, []byte(profileImage))
			h.AddManifest(repo, "v2", imageType, []byte(profileImage))
			h.AddBlob(repo, []byte(profileBlob))
			h.AddManifest("a/secret", "v1", imageType, []byte(profileImage))
			h.SetPrivate("a/secret", "bob")
			e.try(t, newClient(t, h))
		})
	}
}

func (e exchange) try(t *testing.T, c *client) {
	t.Helper()
	words := e.words(t, c)
	method, path, _ := strings.Cut(words.Replace(e.request), " ")
	switch {
	case strings.HasPrefix(path, "/"):
		path = c.hub.registry.root() + path
	case !strings.HasPrefix(path, "http"):
		path = c.hub.URL() + "/v2/" + path
	}
	answer := c.do(method, path, func(r *http.Request) {
		for line := range strings.Lines(words.Replace(e.header)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			r.Header.Set(name, value)
		}
	}).want(t, e.status)
	for _, want := range e.want {
		want = words.Replace(want)
		name, value, isHeader := strings.Cut(want, ":")
		value = strings.TrimPrefix(value, " ")
		got := strings.Join(answer.Header.Values(name), " | ")
		switch {
		case !isHeader || strings.ContainsAny(name, `"{`):
			if !strings.Contains(string(answer.body), want) {
				t.Errorf("body %q, want %q", answer.body, want)
			}
		case !strings.HasPrefix(got, value) || value == "" && got != "":
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

// words replaces the words in capitals.
func (e exchange) words(t *testing.T, c *client) *strings.Replacer {
	t.Helper()
	h := c.hub
	blob := digest.FromString(profileBlob)
	link, err := url.Parse(h.location(blob))
	if err != nil {
		t.Fatal(err)
	}
	token := ""
	if strings.Contains(e.header, "TOKEN") {
		token = "Authorization: Bearer " + fetchToken(t, c)
	}
	return strings.NewReplacer(
		"REALM", h.realm(), "HOST", h.registry.public(), "OTHER", h.other.root(), "DIGEST", digest.FromString(profileImage).String(),
		"BLOB", repo+"/blobs/"+blob.String(), "LINK", link.String(), "TOKEN", token,
		"LOGIN", "Authorization: Basic YW5uOnNlY3JldA==", "WRONG", "Authorization: Basic YW5uOndyb25n",
	)
}

func fetchToken(t *testing.T, c *client) string {
	t.Helper()
	query := url.Values{"service": {c.hub.opts.Profile.Tokens.Service}, "scope": {pull(repo)}}
	var body tokenResponse
	if err := json.Unmarshal(c.do("GET", c.hub.realm()+"?"+query.Encode()).want(t, 200).body, &body); err != nil {
		t.Fatal(err)
	}
	return cmp.Or(body.Token, body.AccessToken)
}
