package faultmatrix

import "mirrord/internal/hubsim"

// answerFaults are those of the registry's answers.
var answerFaults = []row{
	{"an HTML page is the answer to everything", inject(page), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | 2×challenge     | 1s
		expired tag  | 200 stale                      | kept  | token challenge | 1s
		moved tag    | 200 stale                      | older | token challenge | 1s
		uncached tag | 503 UNAVAILABLE                | -     | challenge       | 1s`},
	{"an HTML page is the registry's answer", registry(page), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 2×blob   | 1s
		expired tag  | 200 stale                      | kept  | token HEAD     | 1s
		moved tag    | 200 stale                      | older | token HEAD     | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD     | 1s`},
	{"an HTML page is the answer to a HEAD", at("manifest-head", page), `
		expired tag  | 200 stale       | kept  | token HEAD | 1s
		moved tag    | 200 stale       | older | token HEAD | 1s
		uncached tag | 503 UNAVAILABLE | -     | token HEAD | 1s`},
	{"an HTML page is the body", bodies(page), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 2×blob 2×cdn | 1s
		moved tag    | 200 stale                      | older | token HEAD GET     | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD GET     | 1s`},
	{"a manifest is said to be text", mistyped("manifest-head", "manifest"), harmless},
	{"what does not say that it is a manifest is said to be text", unnamed(mistyped("manifest-head", "manifest")), `
		fresh tag    | 200 hit         | older | -              | 0s
		expired tag  | 200 stale       | older | token HEAD GET | 1s
		moved tag    | 200 stale       | older | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE | -     | token HEAD GET | 1s`},
	{"a manifest of 5 MiB", huge(inject()), `
		fresh tag    | 200 hit         | older | -          | 0s
		expired tag  | 200 stale       | older | token HEAD | 1s
		moved tag    | 200 stale       | older | token HEAD | 1s
		uncached tag | 503 UNAVAILABLE | -     | token HEAD | 1s`},
	{"a manifest of 5 MiB, of which no HEAD and no length tells", huge(inject(
		hubsim.Fault{Op: "manifest-head", Status: 405}, hubsim.Fault{Op: "manifest", NoLength: true})), `
		fresh tag    | 200 hit         | older | -              | 0s
		expired tag  | 200 stale       | older | token HEAD GET | 1s
		moved tag    | 200 stale       | older | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE | -     | token HEAD GET | 1s`},
	{"redirects lead in a circle", redirect("?again"), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 11×blob | 1s
		expired tag  | 200 stale                      | kept  | token 11×HEAD | 1s
		moved tag    | 200 stale                      | older | token 11×HEAD | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token 11×HEAD | 1s`},
	{"redirects lead to a private address", redirect("http://10.0.0.1/blob"), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token blob   | 1s
		expired tag  | 200 stale                      | kept  | token HEAD   | 1s
		moved tag    | 200 stale                      | older | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD   | 1s`},
	{"redirects lead to the cloud's metadata", redirect("http://169.254.169.254/latest/meta-data"), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token blob   | 1s
		expired tag  | 200 stale                      | kept  | token HEAD   | 1s
		moved tag    | 200 stale                      | older | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD   | 1s`},
	{"redirects lead out of the web", redirect("ftp://" + cdnHost + "/blob"), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token blob   | 1s
		expired tag  | 200 stale                      | kept  | token HEAD   | 1s
		moved tag    | 200 stale                      | older | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD   | 1s`},
	{"redirects lead nowhere", registry(hubsim.Fault{Status: 307}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 2×blob | 1s
		expired tag  | 200 stale                      | kept  | token HEAD   | 1s
		moved tag    | 200 stale                      | older | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD   | 1s`},
	{"304 that nobody asked for", registry(hubsim.Fault{Status: 304}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 2×blob | 1s
		expired tag  | 200 stale                      | kept  | token HEAD   | 1s
		moved tag    | 200 stale                      | older | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD   | 1s`},
	{"500 from the registry", registry(hubsim.Fault{Status: 500}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 2×blob | 1s
		expired tag  | 200 stale                      | kept  | token HEAD   | 1s
		moved tag    | 200 stale                      | older | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD   | 1s`},
	{"503 from everything", inject(hubsim.Fault{Status: 503}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | -     | 1s
		expired tag  | 200 stale                      | kept  | token | 1s
		moved tag    | 200 stale                      | older | token | 1s
		uncached tag | 503 UNAVAILABLE                | -     | -     | 1s`},
	{"404 by the registry's word", registry(word(404, "MANIFEST_UNKNOWN")), `
		cold blob    | 404 BLOB_UNKNOWN     | -     | token blob | 1s
		expired tag  | 404 MANIFEST_UNKNOWN | kept  | token HEAD | 1s
		moved tag    | 404 MANIFEST_UNKNOWN | older | token HEAD | 1s
		uncached tag | 404 MANIFEST_UNKNOWN | -     | token HEAD | 1s`},
	{"404 of which only the GET's body tells that it is the registry's", registry(untyped(404, "MANIFEST_UNKNOWN")), `
		cold blob    | 404 BLOB_UNKNOWN     | -     | token blob     | 1s
		expired tag  | 404 MANIFEST_UNKNOWN | kept  | token HEAD GET | 1s
		moved tag    | 404 MANIFEST_UNKNOWN | older | token HEAD GET | 1s
		uncached tag | 404 MANIFEST_UNKNOWN | -     | token HEAD GET | 1s`},
	{"403 by the registry's word", registry(word(403, "DENIED")), `
		cold blob    | 403 DENIED | -     | token blob     | 1s
		expired tag  | 403 DENIED | kept  | token HEAD GET | 1s
		moved tag    | 403 DENIED | older | token HEAD GET | 1s
		uncached tag | 403 DENIED | -     | token HEAD GET | 1s`},
	{"401 by the registry's word, and no challenge", registry(word(401, "UNAUTHORIZED")), `
		cold blob    | 404 NAME_UNKNOWN | -     | token 2×blob       | 1s
		expired tag  | 404 NAME_UNKNOWN | kept  | token 2×HEAD 2×GET | 1s
		moved tag    | 404 NAME_UNKNOWN | older | token 2×HEAD 2×GET | 1s
		uncached tag | 404 NAME_UNKNOWN | -     | token 2×HEAD 2×GET | 1s`},
	{"404 without a word", registry(hubsim.Fault{Status: 404}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 2×blob   | 1s
		expired tag  | 200 stale                      | kept  | token HEAD GET | 1s
		moved tag    | 200 stale                      | older | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD GET | 1s`},
	{"403 without a word", registry(hubsim.Fault{Status: 403}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 2×blob   | 1s
		expired tag  | 200 stale                      | kept  | token HEAD GET | 1s
		moved tag    | 200 stale                      | older | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD GET | 1s`},
	{"401 without a word", registry(hubsim.Fault{Status: 401}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | 4×token 6×blob       | 3s
		expired tag  | 200 stale                      | kept  | 2×token 2×HEAD 3×GET | 2s
		moved tag    | 200 stale                      | older | 2×token 2×HEAD 3×GET | 2s
		uncached tag | 503 UNAVAILABLE                | -     | 2×token 2×HEAD 3×GET | 3s`},
	{"404 with a page", registry(refusalPage(404)), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 2×blob | 1s
		expired tag  | 200 stale                      | kept  | token HEAD   | 1s
		moved tag    | 200 stale                      | older | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD   | 1s`},
	{"403 with a page", registry(refusalPage(403)), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 2×blob | 1s
		expired tag  | 200 stale                      | kept  | token HEAD   | 1s
		moved tag    | 200 stale                      | older | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD   | 1s`},
	{"401 with a page", registry(refusalPage(401)), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 2×blob | 1s
		expired tag  | 200 stale                      | kept  | token HEAD   | 1s
		moved tag    | 200 stale                      | older | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -     | token HEAD   | 1s`},
	{"404 that says that the registry is unavailable", registry(word(404, "UNAVAILABLE")), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | token 2×blob | 1s
		expired tag  | 404 MANIFEST_UNKNOWN           | kept  | token HEAD   | 1s
		moved tag    | 404 MANIFEST_UNKNOWN           | older | token HEAD   | 1s
		uncached tag | 404 MANIFEST_UNKNOWN           | -     | token HEAD   | 1s`},
	{"403 with a page from everything", inject(refusalPage(403)), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -     | 2×challenge     | 1s
		expired tag  | 200 stale                      | kept  | token challenge | 1s
		moved tag    | 200 stale                      | older | token challenge | 1s
		uncached tag | 503 UNAVAILABLE                | -     | challenge       | 1s`},
}

// storageFaults are those of the CDN's answers.
var storageFaults = []row{
	{"a link to the CDN has expired, once", at("cdn", hubsim.Fault{Status: 403, Times: 1}), `
		cold blob | 200 fill | kept | token 2×blob 2×cdn | 1s`},
	{"links to the CDN expire at once", at("cdn", hubsim.Fault{Status: 403}), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token 2×blob 2×cdn | 1s`},
	{"a blob is dropped, and the next link has expired", inject(
		hubsim.Fault{Op: "cdn", DropAfter: middle, Times: 1}, hubsim.Fault{Op: "cdn", Status: 403, Times: 1}), `
		cold blob | 200 fill | kept | token 3×blob 3×cdn | 1s`},
	{"a blob is dropped, and its size is not told again", dropped("cdn", hubsim.Fault{NoTotal: true}), `
		cold blob | 200 fill | kept | token 2×blob 2×cdn | 1s`},
	{"a blob is dropped, and ranges are ignored", dropped("cdn", hubsim.Fault{IgnoreRange: true}), `
		cold blob | 200 fill | kept | token 2×blob 2×cdn | 1s`},
	{"a blob is dropped, and ranges are refused", dropped("cdn", hubsim.Fault{Status: 416, Times: 1}), `
		cold blob | 200 fill | kept | token 3×blob 3×cdn | 1s`},
	{"a blob is dropped, and ranges come in pieces", dropped("cdn", hubsim.Fault{ShortRange: 100_000, NoTotal: true}), `
		cold blob | 200 fill | kept | token 4×blob 4×cdn | 1s`},
	{"a blob is dropped, and the CDN limits the next request", dropped("cdn", hubsim.Fault{Abuse: true, Times: 1}), `
		cold blob | 200 fill | kept | token 3×blob 3×cdn | 1s`},
	{"a blob is dropped, and the registry limits the next request", dropped("blob", hubsim.Fault{Abuse: true, Times: 1}), `
		cold blob | 200 fill | kept | token 3×blob 2×cdn | 1s`},
	{"a blob is dropped, and every further request is limited", dropped("blob", hubsim.Fault{Abuse: true}), `
		cold blob | 200 fill cut | part | token 3×blob cdn | 1s`},
	{"a blob is dropped, and its token is refused once", dropped("blob", hubsim.Fault{Status: 401, Times: 1}), `
		cold blob | 200 fill | kept | token 3×blob 2×cdn | 1s`},
	{"a blob is dropped, and the registry denies it from then on", dropped("blob", word(403, "DENIED")), `
		cold blob | 200 fill cut | part | 2×token 5×blob cdn | 1s`},
	{"a blob is dropped, and the CDN's edge fails ten times", dropped("cdn", hubsim.Fault{Status: 502, Times: 10}), `
		cold blob | 200 fill | kept | token 12×blob 12×cdn | 1s`},
	{"a blob is dropped, and the registry has it no more", dropped("blob", word(404, "BLOB_UNKNOWN")), `
		cold blob | 200 fill cut | part | token 2×blob cdn | 1s`},
	{"404 from the CDN", at("cdn", hubsim.Fault{Status: 404}), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token 2×blob 2×cdn | 1s`},
	{"500 from the CDN", at("cdn", hubsim.Fault{Status: 500}), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token 2×blob 2×cdn | 1s`},
	{"429 from the CDN", at("cdn", hubsim.Fault{Abuse: true}), `
		cold blob | 404 BLOB_UNKNOWN (TOOMANYREQUESTS) | - | token blob cdn | 1s`},
}
