package faultmatrix

import (
	"time"

	"mirrord/internal/hubsim"
)

// tokenFaults are faults of the token service.
var tokenFaults = []row{
	{"500 in response to the ping", at("ping", hubsim.Fault{Status: 500}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | - | 1s
		uncached tag | 503 UNAVAILABLE                | - | - | 1s`},
	{"a token service of another domain", at("ping", hubsim.Fault{
		Status: 401, Header: map[string]string{"Www-Authenticate": `Bearer realm="http://token.example/token",service="registry.docker.io"`},
	}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | - | 1s
		uncached tag | 503 UNAVAILABLE                | - | - | 1s`},
	{"500 from the token service", at("token", hubsim.Fault{Status: 500}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | 2×token | 1s
		expired tag  | 200 stale                      | cached   | token   | 1s
		moved tag    | 200 stale                      | previous | token   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token   | 1s`},
	{"401 from the token service", at("token", hubsim.Fault{Status: 401}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | 2×token | 1s
		expired tag  | 200 stale                      | cached   | token   | 1s
		moved tag    | 200 stale                      | previous | token   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token   | 1s`},
	{"401 with JSON from the token service", at("token", specError(401, "UNAUTHORIZED")), `
		cold blob    | 404 NAME_UNKNOWN | -        | token | 1s
		expired tag  | 404 NAME_UNKNOWN | cached   | token | 1s
		moved tag    | 404 NAME_UNKNOWN | previous | token | 1s
		uncached tag | 404 NAME_UNKNOWN | -        | token | 1s`},
	{"403 with JSON from the token service", at("token", specError(403, "DENIED")), `
		cold blob    | 403 DENIED | -        | token | 1s
		expired tag  | 403 DENIED | cached   | token | 1s
		moved tag    | 403 DENIED | previous | token | 1s
		uncached tag | 403 DENIED | -        | token | 1s`},
	{"403 with a page from the token service", at("token", refusalPage(403)), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | 2×token | 1s
		expired tag  | 200 stale                      | cached   | token   | 1s
		moved tag    | 200 stale                      | previous | token   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token   | 1s`},
	{"a fresh token is refused, once", refused(`error="invalid_token"`, 1), `
		cold blob    | 200 fill        | cached | token 2×blob cdn   | 1s
		expired tag  | 200 revalidated | cached | token 2×HEAD       | 1s
		moved tag    | 200 fill        | cached | token 2×HEAD 2×GET | 1s
		uncached tag | 200 fill        | cached | token 2×HEAD 2×GET | 1s`},
	{"fresh tokens are refused", refused(`error="invalid_token"`, 0), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | 4×token 6×blob | 3s
		expired tag  | 200 stale                      | cached   | 2×token 3×HEAD | 2s
		moved tag    | 200 stale                      | previous | 2×token 3×HEAD | 2s
		uncached tag | 503 UNAVAILABLE                | -        | 2×token 3×HEAD | 2s`},
	{"a fresh token is refused without a reason, once", refused("", 1), `
		cold blob    | 200 fill        | cached | token 2×blob cdn   | 1s
		expired tag  | 200 revalidated | cached | token 2×HEAD       | 1s
		moved tag    | 200 fill        | cached | token 2×HEAD 2×GET | 1s
		uncached tag | 200 fill        | cached | token 2×HEAD 2×GET | 1s`},
	{"fresh tokens are refused without a reason", refused("", 0), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | 4×token 6×blob       | 3s
		expired tag  | 200 stale                      | cached   | 2×token 2×HEAD 3×GET | 3s
		moved tag    | 200 stale                      | previous | 2×token 2×HEAD 3×GET | 3s
		uncached tag | 503 UNAVAILABLE                | -        | 2×token 2×HEAD 3×GET | 3s`},
	{"fresh tokens may not pull", refused(`error="insufficient_scope"`, 0), `
		cold blob    | 404 NAME_UNKNOWN | -        | token blob | 1s
		expired tag  | 404 NAME_UNKNOWN | cached   | token HEAD | 1s
		moved tag    | 404 NAME_UNKNOWN | previous | token HEAD | 1s
		uncached tag | 404 NAME_UNKNOWN | -        | token HEAD | 1s`},
	{"a fresh token is refused without a challenge, once", registry(hubsim.Fault{Status: 401, Times: 1}), `
		cold blob    | 200 fill        | cached | token 2×blob cdn   | 1s
		expired tag  | 200 revalidated | cached | token 2×HEAD       | 1s
		moved tag    | 200 fill        | cached | token 2×HEAD 2×GET | 1s
		uncached tag | 200 fill        | cached | token 2×HEAD 2×GET | 1s`},
	{"a fresh token is refused as Harbor does", registry(harbor), `
		cold blob    | 404 NAME_UNKNOWN | -        | token 2×blob       | 1s
		expired tag  | 404 NAME_UNKNOWN | cached   | token 2×HEAD 2×GET | 1s
		moved tag    | 404 NAME_UNKNOWN | previous | token 2×HEAD 2×GET | 1s
		uncached tag | 404 NAME_UNKNOWN | -        | token 2×HEAD 2×GET | 1s`},
	{"the registry has moved its token service", moved, ``},
	{"a token with a control character", at("token", hubsim.Fault{Token: map[string]any{"token": "a\nb"}}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | 2×token | 1s
		expired tag  | 200 stale                      | cached   | token   | 1s
		moved tag    | 200 stale                      | previous | token   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token   | 1s`},
	{"an HTML page from the token service", at("token", page), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | 2×token | 1s
		expired tag  | 200 stale                      | cached   | token   | 1s
		moved tag    | 200 stale                      | previous | token   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token   | 1s`},
	{"no token from the token service", at("token", hubsim.Fault{Token: map[string]any{"token": nil, "access_token": nil}}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | 2×token | 1s
		expired tag  | 200 stale                      | cached   | token   | 1s
		moved tag    | 200 stale                      | previous | token   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token   | 1s`},
	{"tokens were issued a day ahead", skewed(24 * time.Hour), harmless},
	{"tokens were issued a day ago", skewed(-24 * time.Hour), harmless},
	{"tokens expire immediately", expiresIn(0), harmless},
	{"tokens have expired", expiresIn(-300), harmless},
	{"tokens without an expiry", expiresIn(nil), harmless},
	{"tokens never expire", expiresIn(1 << 60), harmless},
}

// limitFaults are both kinds of 429.
var limitFaults = []row{
	{"the pull limit is reached", at("manifest", hubsim.Fault{PullLimit: true}), `
		moved tag    | 200 stale                  | previous | token HEAD GET | 1s
		uncached tag | 503 TOOMANYREQUESTS in 1s  | -        | token HEAD GET | 1s`},
	{"every request is limited", inject(hubsim.Fault{Abuse: true}), `
		cold blob    | 404 BLOB_UNKNOWN (TOOMANYREQUESTS) | -        | -     | 1s
		expired tag  | 200 stale                          | cached   | token | 1s
		moved tag    | 200 stale                          | previous | token | 1s
		uncached tag | 503 TOOMANYREQUESTS in 60s         | -        | -     | 1s`},
	{"every request for content is limited", registry(hubsim.Fault{Abuse: true}), `
		cold blob    | 404 BLOB_UNKNOWN (TOOMANYREQUESTS) | -        | token blob | 1s
		expired tag  | 200 stale                          | cached   | token HEAD | 1s
		moved tag    | 200 stale                          | previous | token HEAD | 1s
		uncached tag | 503 TOOMANYREQUESTS in 60s         | -        | token HEAD | 1s`},
}
