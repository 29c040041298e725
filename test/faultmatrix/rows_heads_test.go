package faultmatrix

import (
	"strconv"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/hubsim"
)

// byGet is what comes of HEADs that do not tell what a tag names: a GET does,
// and what it brings is cached.
const byGet = `
	expired tag  | 200 revalidated | kept | token HEAD GET | 1s
	moved tag    | 200 fill        | kept | token HEAD GET | 1s
	uncached tag | 200 fill        | kept | token HEAD GET | 1s`

// claim is what a HEAD says of a manifest beside its digest.
type claim string

const (
	right  claim = "right"
	wrong  claim = "wrong"   // and could be true: nobody knows before the GET
	open   claim = "open"    // nothing, or what cannot be true
	inVain claim = "in vain" // not even the digest
)

// headFaults are those of HEADs of manifests; their GETs are right.
var headFaults = []struct {
	fault  string
	strike fault
	claim  claim
}{
	{"a HEAD tells length 0", heads(map[string]string{"Content-Length": "0"}), open},
	{"a HEAD tells another length", heads(map[string]string{"Content-Length": "7"}), wrong},
	{"a HEAD tells no length", heads(map[string]string{"Content-Length": ""}), open},
	{"a HEAD is compressed", heads(map[string]string{"Content-Encoding": "gzip", "Content-Length": "77"}), open},
	{"a HEAD tells no type", heads(map[string]string{"Content-Type": ""}), open},
	{"a HEAD tells a general type", heads(map[string]string{"Content-Type": "application/octet-stream"}), open},
	{"a HEAD tells another type", heads(map[string]string{"Content-Type": "application/vnd.oci.image.index.v1+json"}), wrong},
	{"a HEAD quotes the digest", headDigest(func(raw []byte) string { return strconv.Quote(digest.FromBytes(raw).String()) }), right},
	{"a HEAD tells no digest", headDigest(func([]byte) string { return "" }), inVain},
	{"a HEAD tells a digest of another algorithm", headDigest(func(raw []byte) string { return digest.SHA512.FromBytes(raw).String() }), inVain},
	{"a HEAD tells nonsense for a digest", headDigest(func([]byte) string { return "md5:d41d8cd98f00b204e9800998ecf8427e" }), inVain},
	{"400 to a HEAD", at("manifest-head", hubsim.Fault{Status: 400}), inVain},
	{"405 to a HEAD", at("manifest-head", hubsim.Fault{Status: 405}), inVain},
	{"501 to a HEAD", at("manifest-head", hubsim.Fault{Status: 501}), inVain},
	{"a HEAD is led to a link that is signed for GET", at("manifest-head", hubsim.Fault{Status: 307, Header: map[string]string{"Location": "http://" + cdnHost + "/signed"}}), inVain},
}

// headRows are what they come to for a client that GETs.
func headRows() (rows []row) {
	for _, f := range headFaults {
		want := harmless
		if f.claim == inVain {
			want = byGet
		}
		rows = append(rows, row{f.fault, f.strike, want})
	}
	return append(rows, noPullForAHead, tooLongByAHead)
}

// What is not cached is not worth a pull then.
var tooLongByAHead = row{"a HEAD tells more than a manifest may have", heads(map[string]string{"Content-Length": "5000000"}), `
		moved tag    | 200 stale       | older | token HEAD | 1s
		uncached tag | 503 UNAVAILABLE | -     | token HEAD | 1s`}

var noPullForAHead = row{"no HEAD tells, and the pulls are used up", inject(
	hubsim.Fault{Op: "manifest-head", Status: 405}, hubsim.Fault{Op: "manifest", PullLimit: true}), `
		expired tag  | 200 stale                  | kept  | token HEAD GET | 1s
		moved tag    | 200 stale                  | older | token HEAD GET | 1s
		uncached tag | 503 TOOMANYREQUESTS in 60s | -     | token HEAD GET | 1s`}
