package hubsim

import "time"

// ProfileNamed returns the profile of that name.
func ProfileNamed(name string) (p Profile, ok bool) {
	for _, p := range Profiles() {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

// Profiles returns all profiles.
func Profiles() []Profile {
	return append(publicProfiles(), productProfiles()...)
}

const indexHTML = "text/html; charset=utf-8"

func denied(status int) Reply {
	return failure(status, "DENIED", "requested access to the resource is denied", nil)
}

func tooMany(message string) Reply { return failure(429, "TOOMANYREQUESTS", message, nil) }

func plainText(status int, body string) Reply {
	return Reply{Status: status, Type: "text/plain; charset=utf-8", Body: body}
}

func page(status int, title string) Reply {
	return Reply{Status: status, Type: indexHTML, Body: "<html><head><title>" + title + "</title></head><body><center>nginx</center></body></html>\n"}
}

// schema1 is a manifest of a type that no client understands any more.
func schema1() Reply {
	return Reply{Status: 200, Type: "application/vnd.docker.distribution.manifest.v1+prettyjws", Body: `{"schemaVersion":1,"name":"{repo}"}`}
}

// noReferrers are the Replies of a registry without a referrers API.
func noReferrers() map[string]Reply {
	return map[string]Reply{"GET referrers": plainText(404, "404 page not found\n")}
}

// publicProfiles are those of single services.
func publicProfiles() []Profile {
	signIn := Reply{Status: 302, Type: indexHTML, Header: map[string]string{"Location": "{other}/signin"}}
	return []Profile{{
		Name: "hub",
	}, {
		Name:      "ghcr",
		OtherHost: true,
		Auth: Auth{
			Challenges: []string{`Bearer realm="{realm}",service="ghcr.io"{scope}`},
			Ping:       []string{`Bearer realm="{realm}",service="ghcr.io",scope="repository:user/image:pull"`},
		},
		Tokens: TokenService{
			Fields:   []string{"token"},
			Denied:   failure(401, "UNAUTHORIZED", "authentication required", nil),
			BadLogin: denied(403),
		},
		Blobs:   Blobs{RedirectHead: true},
		Limited: tooMany("retry-after: 880µs, allowed: 44000/minute"),
		NoQuota: true,
		Replies: map[string]Reply{"GET referrers": {Status: 303, Type: indexHTML, Header: map[string]string{"Location": "{other}/{repo}"}}},
	}, {
		Name:   "quay",
		Auth:   Auth{Challenges: []string{`Bearer realm="{realm}",service="quay.io"{scope}`}, PingBody: "true"},
		Tokens: TokenService{Path: "/v2/auth", TTL: time.Hour, Fields: []string{"token"}},
		Manifests: Manifests{
			NoWildcard:  true,
			NotAccepted: schema1(),
			Missing:     failure(404, "TAG_EXPIRED", "tag was deleted or has expired", nil),
		},
		Blobs: Blobs{LinkTTL: 600 * time.Second, Redirect: Reply{
			Status: 302, Type: indexHTML, Body: "<title>Redirecting...</title>\n",
			Header: map[string]string{"Cache-Control": "max-age=31536000", "Docker-Content-Digest": "{reference}"},
		}},
		Tags:      Tags{Page: 50, Max: 100, Cursor: "next_page", Link: `</v2/{repo}/tags/list?n={n}&next_page={cursor}>; rel="next"`},
		NoSubject: failure(400, "MANIFEST_INVALID", "manifest invalid", nil),
		Limited:   page(429, "429 Too Many Requests"),
		NoQuota:   true,
	}, {
		Name:      "k8s",
		OtherHost: true,
		Auth:      Auth{Open: true},
		Forward:   Forward{Status: 307, Kinds: []string{"manifests", "tags"}},
		Limited:   tooMany("Quota exceeded for quota metric"),
		NoQuota:   true,
		Replies:   noReferrers(),
	}, {
		Name:      "google",
		OtherHost: true,
		Auth: Auth{
			Challenges: []string{`Bearer realm="{realm}",service="{host}"{scope}`},
			Ping:       []string{`Bearer realm="{realm}"`},
		},
		Tokens:  TokenService{Path: "/v2/token", OneScope: true, GrantsMissing: true},
		Blobs:   Blobs{Redirect: Reply{Status: 302}, Relative: true, MultiRange: 400},
		Tags:    Tags{Max: 10000, Extra: map[string]any{"child": []string{}, "manifest": map[string]any{}}},
		Limited: tooMany("Quota exceeded for quota metric"),
		NoQuota: true,
		Replies: map[string]Reply{"GET referrers": signIn},
	}, {
		Name: "ecr-public",
		Auth: Auth{
			Challenges: []string{`Bearer realm="{realm}",service="{host}",scope="aws"`},
			Invalid:    denied(400),
		},
		Tokens:    TokenService{Path: "/token/", TTL: time.Hour, Fields: []string{"token"}, AnyRepo: true},
		Manifests: Manifests{NoDigest: "GET"},
		Tags:      Tags{Max: 1000},
		Limited:   tooMany("Rate exceeded"),
		NoQuota:   true,
		Replies: map[string]Reply{
			"GET referrers": plainText(404, ""),
			"HEAD blob":     {Status: 401},
		},
	}, {
		Name:      "gitlab",
		OtherHost: true,
		Auth:      Auth{Challenges: []string{`Bearer realm="{realm}",service="container_registry"{scope}{error}`}},
		Tokens: TokenService{
			Path: "/jwt/auth", OtherHost: true, TTL: 15 * time.Minute, Fields: []string{"token"},
			Service: "container_registry", Denied: denied(403), BadLogin: denied(403),
		},
		Blobs:   Blobs{RedirectHead: true},
		Limited: plainText(429, "Retry later\n"),
		NoQuota: true,
		Replies: noReferrers(),
	}, {
		Name:      "lscr",
		OtherHost: true, // GHCR
		Auth:      Auth{Challenges: []string{`Bearer realm="{realm}",service="ghcr.io"{scope}`}},
		Tokens: TokenService{
			OtherHost: true, Fields: []string{"token"},
			Denied: failure(401, "UNAUTHORIZED", "authentication required", nil),
		},
		Forward: Forward{Status: 307, Kinds: []string{"manifests", "tags", "blobs"}, Agents: []string{"docker/", "Watchtower"}},
		Limited: tooMany("retry-after: 880µs, allowed: 44000/minute"),
		NoQuota: true,
		Replies: map[string]Reply{"GET referrers": {Status: 404}},
	}, {
		Name:    "mcr",
		Auth:    Auth{Open: true},
		Tags:    Tags{Missing: Reply{Status: 404, Type: "application/xml", Body: `<?xml version="1.0" encoding="utf-8"?><Error><Code>BlobNotFound</Code></Error>`}},
		Limited: plainText(429, "Too many requests. Ref A: 1F Ref B: 2E Ref C: 2026-01-01T00:00:00Z\n"),
		NoQuota: true,
	}, {
		Name: "acr",
		Auth: Auth{
			Basic:      true,
			Challenges: []string{`Bearer realm="{realm}",service="{host}"{scope}{error}`},
		},
		Tokens: TokenService{Path: "/oauth2/token", TTL: 75 * time.Minute, Fields: []string{"access_token"}},
		Blobs:  Blobs{Redirect: Reply{Status: 307, Header: map[string]string{"Docker-Content-Digest": "{reference}"}}},
		Tags: Tags{
			Action: "metadata_read",
			Link:   `</v2/{repo}/tags/list?last={last}&n={n}&orderby=>; rel="next"`,
		},
		NoQuota: true,
	}, {
		Name: "ecr",
		Auth: Auth{
			Basic:      true,
			Challenges: []string{`Basic realm="{registry}/",service="ecr.amazonaws.com"`},
			Required:   plainText(401, "Not Authorized\n"),
			Invalid:    denied(403),
			Denied:     denied(403),
		},
		Manifests: Manifests{NoDigest: "GET"},
		Tags:      Tags{Max: 1000, Over: failure(405, "UNSUPPORTED", "Invalid parameter at 'maxResults'", nil)},
		Limited:   tooMany("Rate exceeded"),
		NoQuota:   true,
	}, {
		Name: "ngc",
		Auth: Auth{
			Challenges: []string{`Bearer realm="{realm}"{scope}`},
			Rejected:   []string{`Bearer realm="https://authn.example.org/token"{scope}`},
			Required:   page(401, "401 Authorization Required"),
			Invalid:    page(401, "401 Authorization Required"),
		},
		Tokens:    TokenService{Path: "/proxy_auth", TTL: 600 * time.Second, Denied: failure(401, "UNAUTHORIZED", "authentication required", nil)},
		Manifests: Manifests{Type: "text/plain"},
		NoQuota:   true,
	}, {
		Name:      "redhat",
		Auth:      Auth{Open: true},
		Manifests: Manifests{NoDigest: "GET HEAD", Chunked: true, NotAccepted: schema1()},
		Blobs:     Blobs{Gzip: true},
		Tags:      Tags{Page: 100},
		NoQuota:   true,
		Replies:   noReferrers(),
	}, {
		Name:    "oracle",
		Auth:    Auth{Challenges: []string{`Bearer realm="{realm}",service="Oracle Registry"{scope}`}},
		Tokens:  TokenService{Path: "/auth", Service: "Oracle Registry", OneScope: true, Denied: denied(403)},
		NoQuota: true,
		Replies: noReferrers(),
	}}
}
