package faultmatrix

import (
	"time"

	"mirrord/internal/hubsim"
)

// networkFaults are those of the line.
var networkFaults = []row{
	{"no name is found", noName(""), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | - | 1s
		expired tag  | 200 stale                      | kept  | - | 1s
		moved tag    | 200 stale                      | older | - | 1s
		uncached tag | 503 UNAVAILABLE                | -     | - | 1s`},
	{"the CDN's name is not found", noName(cdnHost), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token 2×blob | 1s`},
	{"everything refuses connections", noEntry(""), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | - | 1s
		expired tag  | 200 stale                      | kept  | - | 1s
		moved tag    | 200 stale                      | older | - | 1s
		uncached tag | 503 UNAVAILABLE                | -     | - | 1s`},
	{"the token service refuses connections", noEntry(tokenHost), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | - | 1s
		expired tag  | 200 stale                      | kept  | - | 1s
		moved tag    | 200 stale                      | older | - | 1s
		uncached tag | 503 UNAVAILABLE                | -     | - | 1s`},
	{"the CDN refuses connections", noEntry(cdnHost), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token 2×blob | 1s`},
	{"connections are reset before an answer", onLine(lineFault{reset: true}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | -     | 1s
		expired tag  | 200 stale                      | kept  | token | 1s
		moved tag    | 200 stale                      | older | token | 1s
		uncached tag | 503 UNAVAILABLE                | -     | -     | 1s`},
	{"connections are reset in the middle of a body", onLine(lineFault{reset: true, after: 10_000}), `
		cold blob    | 200 fill cut    | part  | token 8×blob 8×cdn | 1s
		moved tag    | 200 stale       | older | token HEAD GET     | 1s
		uncached tag | 503 UNAVAILABLE | -     | token HEAD GET     | 1s`},
	{"no answer begins within 60 s", inject(hubsim.Fault{Latency: time.Minute}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | -     | 16s
		expired tag  | 200 stale                      | kept  | token | 2s
		moved tag    | 200 stale                      | older | token | 2s
		uncached tag | 503 UNAVAILABLE                | -     | -     | 16s`},
	{"no answer begins within 60 s, of hosts that have failed before", after(noEntry(""), inject(hubsim.Fault{Latency: time.Minute})), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | - | 0s
		expired tag  | 200 stale                      | kept  | - | 0s
		moved tag    | 200 stale                      | older | - | 0s
		uncached tag | 503 UNAVAILABLE                | -     | - | 0s`},
	{"the registry answers after 60 s", registry(hubsim.Fault{Latency: time.Minute}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token blob | 16s
		expired tag  | 200 stale                      | kept  | token HEAD | 2s
		moved tag    | 200 stale                      | older | token HEAD | 2s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD | 16s`},
	{"connections that idle are lost without a word", lost, `
		cold blob    | 200 fill  | kept  | blob cdn | 11s
		expired tag  | 200 stale | kept  | HEAD     | 2s
		moved tag    | 200 stale | older | HEAD     | 2s
		uncached tag | 200 fill  | kept  | HEAD GET | 11s`},
	{"the CDN answers after 60 s", at("cdn", hubsim.Fault{Latency: time.Minute}), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token blob cdn | 16s`},
	{"the token service answers after 60 s", at("token", hubsim.Fault{Latency: time.Minute}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token | 16s
		expired tag  | 200 stale                      | kept  | token | 2s
		moved tag    | 200 stale                      | older | token | 2s
		uncached tag | 503 UNAVAILABLE                | -     | token | 16s`},
}

// tlsFaults are those that take a hub which speaks TLS.
var tlsFaults = []row{
	{"no fault, with TLS", inject(), unharmed},
	{"connections that idle are lost without a word, over HTTP/2", lost, `
		cold blob    | 200 fill  | kept  | blob cdn | 11s
		expired tag  | 200 stale | kept  | HEAD     | 2s
		moved tag    | 200 stale | older | HEAD     | 2s
		uncached tag | 200 fill  | kept  | HEAD GET | 11s`},
	{"the certificate is not trusted", untrusted, `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | - | 1s
		expired tag  | 200 stale                      | kept  | - | 1s
		moved tag    | 200 stale                      | older | - | 1s
		uncached tag | 503 UNAVAILABLE                | -     | - | 1s`},
	{"a redirect leads to plain http", redirect("http://" + cdnHost + "/blob"), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token blob   | 1s
		expired tag  | 200 stale                      | kept  | token HEAD   | 1s
		moved tag    | 200 stale                      | older | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD   | 1s`},
}
