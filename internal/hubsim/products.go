package hubsim

// productProfiles are those of registries that people run themselves.
func productProfiles() []Profile {
	return []Profile{{
		Name: "distribution",
		// What is before it requires the token: it serves /v2/ itself.
		Auth:    Auth{Challenges: []string{`Bearer realm="{realm}",service="registry"{scope}{error}`}},
		Blobs:   Blobs{Direct: true},
		Tags:    Tags{Max: 1000},
		NoQuota: true,
		Replies: map[string]Reply{
			"GET ping":      {Status: 200, Body: "{}"},
			"GET referrers": plainText(404, "404 page not found\n"),
		},
	}, {
		Name:    "harbor",
		Header:  map[string]string{"Set-Cookie": "sid=3f2504e0; Path=/; HttpOnly"},
		Proxied: "hub",
		Auth: Auth{
			Basic:      true,
			Challenges: []string{`Bearer realm="{realm}",service="harbor-registry"{scope}`},
			Rejected:   []string{`Basic realm="harbor"`},
		},
		Tokens:  TokenService{Path: "/service/token", Service: "harbor-registry", GrantsMissing: true},
		Blobs:   Blobs{Direct: true},
		Tags:    Tags{Missing: Reply{Status: 200, Body: `{"name":"{repo}","tags":[]}`}},
		Missing: failure(404, "NOT_FOUND", "repository {repo} not found", nil),
		NoQuota: true,
	}, {
		Name:   "artifactory",
		Prefix: "/artifactory/api/docker/docker-remote",
		Auth: Auth{
			Basic:      true,
			Challenges: []string{`Bearer realm="{realm}",service="{host}"{scope}`},
		},
		Tokens: TokenService{Path: "/artifactory/api/docker/docker-remote/v2/token", GrantsMissing: true},
		Manifests: Manifests{
			NotAccepted: Reply{Status: 200, Type: "application/octet-stream", Header: map[string]string{"Etag": "3da541559918a808c2402bba5012f6c60b27661c"}, Body: "{}"},
			Missing:     failure(403, "UNAUTHORIZED", "The client does not have permission for manifest", nil),
		},
		Blobs:   Blobs{Direct: true},
		Tags:    Tags{Strict: true},
		Missing: Reply{Status: 404, Body: `{"errors":[{"status":404,"message":"Not Found"}]}`},
		NoQuota: true,
	}, {
		Name:   "nexus",
		Prefix: "/repository/docker-proxy",
		Auth: Auth{
			Basic:      true,
			Challenges: []string{`BASIC realm="Sonatype Nexus Repository Manager"`},
		},
		Blobs:   Blobs{Direct: true},
		Tags:    Tags{Link: `</repository/another/v2/{repo}/tags/list?last={last}&n={n}>; rel="next"`},
		NoQuota: true,
		Replies: map[string]Reply{"GET referrers": page(404, "404 - Nexus Repository Manager")},
	}, {
		Name: "gitea",
		Auth: Auth{
			Basic: true,
			Challenges: []string{
				`Bearer realm="{realm}",service="container_registry",scope="*"`,
				`Basic realm="Gitea Container Registry"`,
			},
			Ping: []string{`Basic realm="Gitea Container Registry", Bearer realm="{realm}",service="container_registry",scope="*"`},
		},
		Tokens:    TokenService{Path: "/v2/token", Fields: []string{"token"}, AnyRepo: true},
		Manifests: Manifests{AnyAccept: true},
		Blobs:     Blobs{Direct: true},
		Tags:      Tags{NoLink: true},
		NoQuota:   true,
		Replies:   noReferrers(),
	}, {
		Name: "zot",
		Auth: Auth{
			Basic:      true,
			Challenges: []string{`basic realm=zot`},
			Required:   Reply{Status: 401, Body: `{"code":"UNAUTHORIZED","message":"authentication required"}`},
			Invalid:    Reply{Status: 401, Body: `{"code":"UNAUTHORIZED","message":"authentication required"}`},
			Denied:     Reply{Status: 403, Body: `{"code":"DENIED","message":"requested access to the resource is denied"}`},
		},
		Manifests: Manifests{AnyAccept: true},
		Blobs:     Blobs{Direct: true},
		Tags:      Tags{UnknownLast: Reply{Status: 404}},
		Limited:   plainText(429, "Too Many Requests\n"),
		NoQuota:   true,
		Replies:   map[string]Reply{"GET ping": {Status: 200, Header: map[string]string{"Www-Authenticate": "basic realm=zot"}, Body: "{}"}},
	}}
}
