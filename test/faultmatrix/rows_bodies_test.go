package faultmatrix

import "mirrord/internal/hubsim"

var middle = int64(20_000)

// bodyFaults are faults of the bodies of manifests and of blobs at the CDN.
var bodyFaults = []row{
	{"bodies stall before their first byte", bodies(hubsim.Fault{StallAfter: -1}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token blob cdn | 16s
		moved tag    | 200 stale                      | previous | token HEAD GET | 2s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD GET | 16s`},
	{"bodies stall in the middle", bodies(hubsim.Fault{StallAfter: middle}), `
		cold blob    | 200 fill cut    | partial  | token 8×blob 8×cdn | 1s
		moved tag    | 200 stale       | previous | token HEAD GET     | 2s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET     | 16s`},
	{"bodies do not end", bodies(hubsim.Fault{Endless: true}), `
		cold blob    | 200 fill        | cached   | token blob-HEAD blob cdn | 1s
		moved tag    | 200 stale       | previous | token HEAD GET           | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET           | 1s`},
	{"a body is dropped in the middle, once", bodies(hubsim.Fault{DropAfter: middle, Times: 1}), `
		cold blob    | 200 fill        | cached   | token 2×blob 2×cdn | 1s
		moved tag    | 200 stale       | previous | token HEAD GET     | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET     | 1s`},
	{"bodies are dropped in the middle", bodies(hubsim.Fault{DropAfter: middle}), `
		cold blob    | 200 fill cut    | partial  | token 8×blob 8×cdn | 1s
		moved tag    | 200 stale       | previous | token HEAD GET     | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET     | 1s`},
	{"bodies are dropped before their first byte", bodies(hubsim.Fault{DropAfter: -1}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob 2×cdn | 1s
		moved tag    | 200 stale                      | previous | token HEAD GET     | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD GET     | 1s`},
	{"bodies are truncated, and so is their length", bodies(hubsim.Fault{Truncate: 100}), `
		cold blob    | 200 fill cut    | -        | token blob cdn | 1s
		moved tag    | 200 stale       | previous | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET | 1s`},
	{"bodies without a length end early", bodies(hubsim.Fault{Truncate: 100, NoLength: true}), `
		cold blob    | 200 fill cut    | partial  | token blob-HEAD 2×blob 2×cdn | 1s
		moved tag    | 200 stale       | previous | token HEAD GET               | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET               | 1s`},
	{"bodies without a length", bodies(hubsim.Fault{NoLength: true}), `
		cold blob | 200 fill | cached | token blob-HEAD blob cdn | 1s`},
	{"a byte is wrong, once", bodies(hubsim.Fault{FlipAt: &middle, Times: 1}), `
		cold blob    | 200 fill cut    | -        | token blob cdn | 1s
		moved tag    | 200 stale       | previous | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET | 1s`},
	{"a byte is wrong", bodies(hubsim.Fault{FlipAt: &middle}), `
		cold blob    | 200 fill cut    | -        | token blob cdn | 1s
		moved tag    | 200 stale       | previous | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET | 1s`},
	{"bodies are compressed", zipped, `
		cold blob    | 200 fill cut    | -        | token blob cdn | 1s
		moved tag    | 200 stale       | previous | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET | 1s`},
}
