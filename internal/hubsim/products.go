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
	}}
}
