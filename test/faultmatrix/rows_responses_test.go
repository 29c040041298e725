package faultmatrix

import "mirrord/internal/hubsim"

// responseFaults are faults of the responses of the registry.
var responseFaults = []row{
	{"an HTML page in response to everything", inject(page), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | 2×challenge     | 1s
		expired tag  | 200 stale                      | cached   | token challenge | 1s
		moved tag    | 200 stale                      | previous | token challenge | 1s
		uncached tag | 503 UNAVAILABLE                | -        | challenge       | 1s`},
	{"an HTML page from the registry", registry(page), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob | 1s
		expired tag  | 200 stale                      | cached   | token HEAD   | 1s
		moved tag    | 200 stale                      | previous | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD   | 1s`},
	{"an HTML page in response to a HEAD", at("manifest-head", page), `
		expired tag  | 200 stale       | cached   | token HEAD | 1s
		moved tag    | 200 stale       | previous | token HEAD | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD | 1s`},
	{"an HTML page as the body", bodies(page), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob 2×cdn | 1s
		moved tag    | 200 stale                      | previous | token HEAD GET     | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD GET     | 1s`},
	{"a manifest with the type of text", mistyped("manifest-head", "manifest"), harmless},
	{"what does not say that it is a manifest with the type of text", unnamed(mistyped("manifest-head", "manifest")), `
		fresh tag    | 200 hit         | previous | -              | 0s
		expired tag  | 200 stale       | previous | token HEAD GET | 1s
		moved tag    | 200 stale       | previous | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET | 1s`},
	{"a manifest of 5 MiB", huge(inject()), `
		fresh tag    | 200 hit         | previous | -          | 0s
		expired tag  | 200 stale       | previous | token HEAD | 1s
		moved tag    | 200 stale       | previous | token HEAD | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD | 1s`},
	{"a manifest of 5 MiB, without HEAD and length", huge(inject(
		hubsim.Fault{Op: "manifest-head", Status: 405}, hubsim.Fault{Op: "manifest", NoLength: true})), `
		fresh tag    | 200 hit         | previous | -              | 0s
		expired tag  | 200 stale       | previous | token HEAD GET | 1s
		moved tag    | 200 stale       | previous | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD GET | 1s`},
	{"a redirect loop", redirect("?again"), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 11×blob | 1s
		expired tag  | 200 stale                      | cached   | token 11×HEAD | 1s
		moved tag    | 200 stale                      | previous | token 11×HEAD | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token 11×HEAD | 1s`},
	{"redirects to a private address", redirect("http://10.0.0.1/blob"), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token blob | 1s
		expired tag  | 200 stale                      | cached   | token HEAD | 1s
		moved tag    | 200 stale                      | previous | token HEAD | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD | 1s`},
	{"redirects to the cloud's metadata", redirect("http://169.254.169.254/latest/meta-data"), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token blob | 1s
		expired tag  | 200 stale                      | cached   | token HEAD | 1s
		moved tag    | 200 stale                      | previous | token HEAD | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD | 1s`},
	{"redirects to another scheme", redirect("ftp://" + cdnHost + "/blob"), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token blob | 1s
		expired tag  | 200 stale                      | cached   | token HEAD | 1s
		moved tag    | 200 stale                      | previous | token HEAD | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD | 1s`},
	{"redirects without a location", registry(hubsim.Fault{Status: 307}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob | 1s
		expired tag  | 200 stale                      | cached   | token HEAD   | 1s
		moved tag    | 200 stale                      | previous | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD   | 1s`},
	{"an unsolicited 304", registry(hubsim.Fault{Status: 304}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob | 1s
		expired tag  | 200 stale                      | cached   | token HEAD   | 1s
		moved tag    | 200 stale                      | previous | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD   | 1s`},
	{"500 from the registry", registry(hubsim.Fault{Status: 500}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob | 1s
		expired tag  | 200 stale                      | cached   | token HEAD   | 1s
		moved tag    | 200 stale                      | previous | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD   | 1s`},
	{"503 from everything", inject(hubsim.Fault{Status: 503}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | -     | 1s
		expired tag  | 200 stale                      | cached   | token | 1s
		moved tag    | 200 stale                      | previous | token | 1s
		uncached tag | 503 UNAVAILABLE                | -        | -     | 1s`},
	{"404 in JSON from the registry", registry(specError(404, "MANIFEST_UNKNOWN")), `
		cold blob    | 404 BLOB_UNKNOWN     | -        | token blob | 1s
		expired tag  | 404 MANIFEST_UNKNOWN | cached   | token HEAD | 1s
		moved tag    | 404 MANIFEST_UNKNOWN | previous | token HEAD | 1s
		uncached tag | 404 MANIFEST_UNKNOWN | -        | token HEAD | 1s`},
	{"404 in JSON, without the headers of a registry", registry(untyped(404, "MANIFEST_UNKNOWN")), `
		cold blob    | 404 BLOB_UNKNOWN     | -        | token blob     | 1s
		expired tag  | 404 MANIFEST_UNKNOWN | cached   | token HEAD GET | 1s
		moved tag    | 404 MANIFEST_UNKNOWN | previous | token HEAD GET | 1s
		uncached tag | 404 MANIFEST_UNKNOWN | -        | token HEAD GET | 1s`},
	{"403 in JSON from the registry", registry(specError(403, "DENIED")), `
		cold blob    | 403 DENIED | -        | token blob     | 1s
		expired tag  | 403 DENIED | cached   | token HEAD GET | 1s
		moved tag    | 403 DENIED | previous | token HEAD GET | 1s
		uncached tag | 403 DENIED | -        | token HEAD GET | 1s`},
	{"401 in JSON from the registry, without a challenge", registry(specError(401, "UNAUTHORIZED")), `
		cold blob    | 404 NAME_UNKNOWN | -        | token 2×blob       | 1s
		expired tag  | 404 NAME_UNKNOWN | cached   | token 2×HEAD 2×GET | 1s
		moved tag    | 404 NAME_UNKNOWN | previous | token 2×HEAD 2×GET | 1s
		uncached tag | 404 NAME_UNKNOWN | -        | token 2×HEAD 2×GET | 1s`},
	{"404 without a body", registry(hubsim.Fault{Status: 404}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob   | 1s
		expired tag  | 200 stale                      | cached   | token HEAD GET | 1s
		moved tag    | 200 stale                      | previous | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD GET | 1s`},
	{"403 without a body", registry(hubsim.Fault{Status: 403}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob   | 1s
		expired tag  | 200 stale                      | cached   | token HEAD GET | 1s
		moved tag    | 200 stale                      | previous | token HEAD GET | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD GET | 1s`},
	{"401 without a body", registry(hubsim.Fault{Status: 401}), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | 4×token 6×blob       | 3s
		expired tag  | 200 stale                      | cached   | 2×token 2×HEAD 3×GET | 2s
		moved tag    | 200 stale                      | previous | 2×token 2×HEAD 3×GET | 2s
		uncached tag | 503 UNAVAILABLE                | -        | 2×token 2×HEAD 3×GET | 3s`},
	{"404 with a page", registry(refusalPage(404)), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob | 1s
		expired tag  | 200 stale                      | cached   | token HEAD   | 1s
		moved tag    | 200 stale                      | previous | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD   | 1s`},
	{"403 with a page", registry(refusalPage(403)), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob | 1s
		expired tag  | 200 stale                      | cached   | token HEAD   | 1s
		moved tag    | 200 stale                      | previous | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD   | 1s`},
	{"401 with a page", registry(refusalPage(401)), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob | 1s
		expired tag  | 200 stale                      | cached   | token HEAD   | 1s
		moved tag    | 200 stale                      | previous | token HEAD   | 1s
		uncached tag | 503 UNAVAILABLE                | -        | token HEAD   | 1s`},
	{"404 with the code UNAVAILABLE", registry(specError(404, "UNAVAILABLE")), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | token 2×blob | 1s
		expired tag  | 404 MANIFEST_UNKNOWN           | cached   | token HEAD   | 1s
		moved tag    | 404 MANIFEST_UNKNOWN           | previous | token HEAD   | 1s
		uncached tag | 404 MANIFEST_UNKNOWN           | -        | token HEAD   | 1s`},
	{"403 with a page from everything", inject(refusalPage(403)), `
		cold blob    | 404 BLOB_UNKNOWN (UNAVAILABLE) | -        | 2×challenge     | 1s
		expired tag  | 200 stale                      | cached   | token challenge | 1s
		moved tag    | 200 stale                      | previous | token challenge | 1s
		uncached tag | 503 UNAVAILABLE                | -        | challenge       | 1s`},
}

// storageFaults are faults of the responses of the CDN.
var storageFaults = []row{
	{"a link to the CDN has expired, once", at("cdn", hubsim.Fault{Status: 403, Times: 1}), `
		cold blob | 200 fill | cached | token 2×blob 2×cdn | 1s`},
	{"links to the CDN expire at once", at("cdn", hubsim.Fault{Status: 403}), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token 2×blob 2×cdn | 1s`},
	{"a blob is dropped, and the next link has expired", inject(
		hubsim.Fault{Op: "cdn", DropAfter: middle, Times: 1}, hubsim.Fault{Op: "cdn", Status: 403, Times: 1}), `
		cold blob | 200 fill | cached | token 3×blob 3×cdn | 1s`},
	{"a blob is dropped, and its size is missing in the next response", dropped("cdn", hubsim.Fault{NoTotal: true}), `
		cold blob | 200 fill | cached | token 2×blob 2×cdn | 1s`},
	{"a blob is dropped, and ranges are ignored", dropped("cdn", hubsim.Fault{IgnoreRange: true}), `
		cold blob | 200 fill | cached | token 2×blob 2×cdn | 1s`},
	{"a blob is dropped, and ranges are refused", dropped("cdn", hubsim.Fault{Status: 416, Times: 1}), `
		cold blob | 200 fill | cached | token 3×blob 3×cdn | 1s`},
	{"a blob is dropped, and ranges come in pieces", dropped("cdn", hubsim.Fault{ShortRange: 100_000, NoTotal: true}), `
		cold blob | 200 fill | cached | token 4×blob 4×cdn | 1s`},
	{"a blob is dropped, and the CDN limits the next request", dropped("cdn", hubsim.Fault{Abuse: true, Times: 1}), `
		cold blob | 200 fill | cached | token 3×blob 3×cdn | 1s`},
	{"a blob is dropped, and the registry limits the next request", dropped("blob", hubsim.Fault{Abuse: true, Times: 1}), `
		cold blob | 200 fill | cached | token 3×blob 2×cdn | 1s`},
	{"a blob is dropped, and all further requests are limited", dropped("blob", hubsim.Fault{Abuse: true}), `
		cold blob | 200 fill cut | partial | token 3×blob cdn | 1s`},
	{"a blob is dropped, and its token is refused once", dropped("blob", hubsim.Fault{Status: 401, Times: 1}), `
		cold blob | 200 fill | cached | token 3×blob 2×cdn | 1s`},
	{"a blob is dropped, and the registry denies it from then on", dropped("blob", specError(403, "DENIED")), `
		cold blob | 200 fill cut | partial | 2×token 5×blob cdn | 1s`},
	{"a blob is dropped, and the CDN's edge fails ten times", dropped("cdn", hubsim.Fault{Status: 502, Times: 10}), `
		cold blob | 200 fill | cached | token 12×blob 12×cdn | 1s`},
	{"a blob is dropped, and the registry no longer has it", dropped("blob", specError(404, "BLOB_UNKNOWN")), `
		cold blob | 200 fill cut | partial | token 2×blob cdn | 1s`},
	{"404 from the CDN", at("cdn", hubsim.Fault{Status: 404}), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token 2×blob 2×cdn | 1s`},
	{"500 from the CDN", at("cdn", hubsim.Fault{Status: 500}), `
		cold blob | 404 BLOB_UNKNOWN (UNAVAILABLE) | - | token 2×blob 2×cdn | 1s`},
	{"429 from the CDN", at("cdn", hubsim.Fault{Abuse: true}), `
		cold blob | 404 BLOB_UNKNOWN (TOOMANYREQUESTS) | - | token blob cdn | 1s`},
}
