package faultmatrix

import (
	"time"

	"mirrord/internal/hubsim"
)

// tokenFaults are those of the token service.
var tokenFaults = []row{
	{"500 where the registry tells its token service", at("ping", hubsim.Fault{Status: 500}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | - | 1s
		uncached tag | 503 UNAVAILABLE                | - | - | 1s`},
	{"a token service of another domain", at("ping", hubsim.Fault{
		Status: 401, Header: map[string]string{"Www-Authenticate": `Bearer realm="http://token.example/token",service="registry.docker.io"`},
	}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | - | 1s
		uncached tag | 503 UNAVAILABLE                | - | - | 1s`},
	{"500 from the token service", at("token", hubsim.Fault{Status: 500}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | 2×token | 1s
		expired tag  | 200 stale                      | kept  | token   | 1s
		moved tag    | 200 stale                      | older | token   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token   | 1s`},
	{"401 from the token service", at("token", hubsim.Fault{Status: 401}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | 2×token | 1s
		expired tag  | 200 stale                      | kept  | token   | 1s
		moved tag    | 200 stale                      | older | token   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token   | 1s`},
	{"an HTML page from the token service", at("token", page), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | 2×token | 1s
		expired tag  | 200 stale                      | kept  | token   | 1s
		moved tag    | 200 stale                      | older | token   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token   | 1s`},
	{"no token from the token service", at("token", hubsim.Fault{Token: map[string]any{"token": nil, "access_token": nil}}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | 2×token | 1s
		expired tag  | 200 stale                      | kept  | token   | 1s
		moved tag    | 200 stale                      | older | token   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token   | 1s`},
	{"tokens were issued a day ahead", skewed(24 * time.Hour), harmless},
	{"tokens were issued a day ago", skewed(-24 * time.Hour), harmless},
	{"tokens expire in no time", expiresIn(0), harmless},
	{"tokens have expired", expiresIn(-300), harmless},
	{"tokens do not tell when they expire", expiresIn(nil), harmless},
	{"tokens never expire", expiresIn(1 << 60), harmless},
}

// limitFaults are both kinds of 429.
var limitFaults = []row{
	{"the pull limit is reached", at("manifest", hubsim.Fault{PullLimit: true}), `
		moved tag    | 200 stale                  | older | token HEAD GET | 1s
		uncached tag | 503 TOOMANYREQUESTS in 60s | -     | token HEAD GET | 1s`},
	{"every request is limited", inject(hubsim.Fault{Abuse: true}), `
		cold blob    | 404 BLOB_UNKNOWN (TOOMANYREQUESTS) | -     | -     | 1s
		expired tag  | 200 stale                          | kept  | token | 1s
		moved tag    | 200 stale                          | older | token | 1s
		uncached tag | 503 TOOMANYREQUESTS in 60s         | -     | -     | 1s`},
	{"every request for content is limited", registry(hubsim.Fault{Abuse: true}), `
		cold blob    | 404 BLOB_UNKNOWN (TOOMANYREQUESTS) | -     | token blob | 1s
		expired tag  | 200 stale                          | kept  | token HEAD | 1s
		moved tag    | 200 stale                          | older | token HEAD | 1s
		uncached tag | 503 TOOMANYREQUESTS in 60s         | -     | token HEAD | 1s`},
}
