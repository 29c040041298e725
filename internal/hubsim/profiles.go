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
		Forward:   Forward{Status: 307, Kinds: []string{"manifests", "tags", "referrers"}},
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
	}}
}
