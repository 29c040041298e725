package faultmatrix

import (
	"strconv"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/hubsim"
)

// byGet is the outcome when HEADs do not say what a tag names: a GET does, and its
// content is cached.
const byGet = `
	expired tag  | 200 revalidated | cached | token HEAD GET | 1s
	moved tag    | 200 fill        | cached | token HEAD GET | 1s
	uncached tag | 200 fill        | cached | token HEAD GET | 1s`

// claim is how a HEAD describes a manifest.
type claim string

const (
	right   claim = "right"
	wrong   claim = "wrong"   // but plausible: only a GET shows it
	open    claim = "open"    // nothing, or something impossible
	useless claim = "useless" // not even the digest
)

// headFaults are faults of HEADs of manifests; GETs are right.
var headFaults = []struct {
	fault  string
	inject fault
	claim  claim
}{
	{"a HEAD with length 0", heads(map[string]string{"Content-Length": "0"}), open},
	{"a HEAD with another length", heads(map[string]string{"Content-Length": "7"}), wrong},
	{"a HEAD without a length", heads(map[string]string{"Content-Length": ""}), open},
	{"a HEAD is compressed", heads(map[string]string{"Content-Encoding": "gzip", "Content-Length": "77"}), open},
	{"a HEAD without a type", heads(map[string]string{"Content-Type": ""}), open},
	{"a HEAD with a general type", heads(map[string]string{"Content-Type": "application/octet-stream"}), open},
	{"a HEAD with another type", heads(map[string]string{"Content-Type": "application/vnd.oci.image.index.v1+json"}), wrong},
	{"a HEAD quotes the digest", headDigest(func(raw []byte) string { return strconv.Quote(digest.FromBytes(raw).String()) }), right},
	{"a HEAD without a digest", headDigest(func([]byte) string { return "" }), useless},
	{"a HEAD with a digest of another algorithm", headDigest(func(raw []byte) string { return digest.SHA512.FromBytes(raw).String() }), useless},
	{"a HEAD with an invalid digest", headDigest(func([]byte) string { return "md5:d41d8cd98f00b204e9800998ecf8427e" }), useless},
	{"400 to a HEAD", at("manifest-head", hubsim.Fault{Status: 400}), useless},
	{"405 to a HEAD", at("manifest-head", hubsim.Fault{Status: 405}), useless},
	{"501 to a HEAD", at("manifest-head", hubsim.Fault{Status: 501}), useless},
	{"a HEAD is redirected to a link signed for GET", at("manifest-head", hubsim.Fault{Status: 307, Header: map[string]string{"Location": "http://" + cdnHost + "/signed"}}), useless},
}

// headRows are the outcomes of headFaults for a client that sends GETs.
func headRows() (rows []row) {
	for _, f := range headFaults {
		want := harmless
		if f.claim == useless {
			want = byGet
		}
		rows = append(rows, row{f.fault, f.inject, want})
	}
	return append(rows, noPullForAHead, tooLongByAHead)
}

// An uncached manifest that is too large is not worth a pull.
var tooLongByAHead = row{"a HEAD with a length beyond the limit of manifests", heads(map[string]string{"Content-Length": "5000000"}), `
		moved tag    | 200 stale       | previous | token HEAD | 1s
		uncached tag | 503 UNAVAILABLE | -        | token HEAD | 1s`}

var noPullForAHead = row{"HEADs fail, and the pulls are used up", inject(
	hubsim.Fault{Op: "manifest-head", Status: 405}, hubsim.Fault{Op: "manifest", PullLimit: true}), `
		expired tag  | 200 stale                  | cached   | token HEAD GET | 1s
		moved tag    | 200 stale                  | previous | token HEAD GET | 1s
		uncached tag | 503 TOOMANYREQUESTS in 1s  | -        | token HEAD GET | 1s`}
