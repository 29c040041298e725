package faultmatrix

import (
	"time"

	"mirrord/internal/hubsim"
)

// networkFaults are faults of the network.
var networkFaults = []row{
	{"names are not resolved", noName(""), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | - | 1s
		expired tag  | 200 stale                      | cached   | - | 1s
		moved tag    | 200 stale                      | previous | - | 1s
		uncached tag | 503 UNAVAILABLE                | -        | - | 1s`},
	{"the name of the CDN is not resolved", noName(cdnHost), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token 2×blob | 1s`},
	{"everything refuses connections", noEntry(""), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | - | 1s
		expired tag  | 200 stale                      | cached   | - | 1s
		moved tag    | 200 stale                      | previous | - | 1s
		uncached tag | 503 UNAVAILABLE                | -        | - | 1s`},
	{"the token service refuses connections", noEntry(tokenHost), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | - | 1s
		expired tag  | 200 stale                      | cached   | - | 1s
		moved tag    | 200 stale                      | previous | - | 1s
		uncached tag | 503 UNAVAILABLE                | -        | - | 1s`},
	{"the CDN refuses connections", noEntry(cdnHost), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token 2×blob | 1s`},
	{"connections are reset before a response", onLine(lineFault{reset: true}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | -     | 1s
		expired tag  | 200 stale                      | cached   | token | 1s
		moved tag    | 200 stale                      | previous | token | 1s
		uncached tag | 503 UNAVAILABLE                | -        | -     | 1s`},
	{"connections are reset in the middle of a body", onLine(lineFault{reset: true, after: 10_000}), `
		cold blob    | 200 fill cut    | partial  | token 8×blob 8×cdn | 1s
		moved tag    | 200 stale       | previous | token HEAD GET     | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET     | 1s`},
	{"no response begins within 60 s", inject(hubsim.Fault{Latency: time.Minute}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | -     | 16s
		expired tag  | 200 stale                      | cached   | token | 2s
		moved tag    | 200 stale                      | previous | token | 2s
		uncached tag | 503 UNAVAILABLE                | -        | -     | 16s`},
	{"no response begins within 60 s, from hosts that have failed before", after(noEntry(""), inject(hubsim.Fault{Latency: time.Minute})), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | - | 0s
		expired tag  | 200 stale                      | cached   | - | 0s
		moved tag    | 200 stale                      | previous | - | 0s
		uncached tag | 503 UNAVAILABLE                | -        | - | 0s`},
	{"the registry answers after 60 s", registry(hubsim.Fault{Latency: time.Minute}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token blob | 16s
		expired tag  | 200 stale                      | cached   | token HEAD | 2s
		moved tag    | 200 stale                      | previous | token HEAD | 2s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD | 16s`},
	{"idle connections are lost silently", lost, `
		cold blob    | 200 fill  | cached   | blob cdn | 11s
		expired tag  | 200 stale | cached   | HEAD     | 2s
		moved tag    | 200 stale | previous | HEAD     | 2s
		uncached tag | 200 fill  | cached   | HEAD GET | 11s`},
	{"the CDN answers after 60 s", at("cdn", hubsim.Fault{Latency: time.Minute}), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token blob cdn | 16s`},
	{"the token service answers after 60 s", at("token", hubsim.Fault{Latency: time.Minute}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token | 16s
		expired tag  | 200 stale                      | cached   | token | 2s
		moved tag    | 200 stale                      | previous | token | 2s
		uncached tag | 503 UNAVAILABLE                | -        | token | 16s`},
}

// tlsFaults are faults that need a hub with TLS.
var tlsFaults = []row{
	{"no fault, with TLS", inject(), unharmed},
	{"idle connections are lost silently, over HTTP/2", lost, `
		cold blob    | 200 fill  | cached   | blob cdn | 11s
		expired tag  | 200 stale | cached   | HEAD     | 2s
		moved tag    | 200 stale | previous | HEAD     | 2s
		uncached tag | 200 fill  | cached   | HEAD GET | 11s`},
	{"the certificate is not trusted", untrusted, `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | - | 1s
		expired tag  | 200 stale                      | cached   | - | 1s
		moved tag    | 200 stale                      | previous | - | 1s
		uncached tag | 503 UNAVAILABLE                | -        | - | 1s`},
	{"a redirect to plain http", redirect("http://" + cdnHost + "/blob"), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token blob | 1s
		expired tag  | 200 stale                      | cached   | token HEAD | 1s
		moved tag    | 200 stale                      | previous | token HEAD | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD | 1s`},
}
