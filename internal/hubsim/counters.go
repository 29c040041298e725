package hubsim

import (
	"maps"
	"net/http"
	"sync"
)

// Counters is what the hub has been asked and what it has given away. Every
// request is counted once in Requests and once as what it asked for, when it
// arrives and whatever becomes of it; the others are results.
type Counters struct {
	Requests      int
	Pings         int // of /v2/
	Tokens        int // requests to the token service
	Challenges    int // requests for content without a token that grants it: answered 401
	ManifestHEADs int
	ManifestAsks  int // GETs, whatever is answered
	BlobGETs      int // at the registry, where a redirect is given
	BlobHEADs     int
	CDNGETs       int
	CDNHEADs      int
	TagLists      int
	Referrers     int

	TokenFailures    int   // wrong account or password
	ManifestGETs     int   // answered 200: these are the pulls that Docker Hub counts
	Refused          int   // answered 429, of either kind
	CDNBytes         int64 // of blobs, sent to clients by the CDN, or by the registry with Direct
	CDNAuthorization int   // requests at the CDN with Authorization: answered 400
	CDNForbidden     int   // links that expired or are not signed for the method: answered 403
	RangeGETs        int   // of blobs, with a Range header

	// ManifestGETsByDigest divides ManifestGETs.
	ManifestGETsByDigest map[string]int
	// BlobGETsByDigest counts the downloads that began at the first byte.
	BlobGETsByDigest map[string]int
	// RefusedByRequest divides Refused, by "METHOD path".
	RefusedByRequest map[string]int
}

type tally struct {
	mu sync.Mutex // guards n; nothing is waited for under it
	n  Counters
}

func newTally() *tally {
	t := &tally{}
	t.reset()
	return t
}

func (t *tally) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n = Counters{ManifestGETsByDigest: map[string]int{}, BlobGETsByDigest: map[string]int{}, RefusedByRequest: map[string]int{}}
}

func (t *tally) snapshot() Counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.n
	n.ManifestGETsByDigest = maps.Clone(n.ManifestGETsByDigest)
	n.BlobGETsByDigest = maps.Clone(n.BlobGETsByDigest)
	n.RefusedByRequest = maps.Clone(n.RefusedByRequest)
	return n
}

func (t *tally) add(change func(*Counters)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.n)
}

// arrive counts a request as what it asks for.
func (t *tally) arrive(op, method string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n.Requests++
	if n := t.n.of(op, method == http.MethodHead); n != nil {
		*n++
	}
}

func (c *Counters) of(op string, head bool) *int {
	switch {
	case op == opPing:
		return &c.Pings
	case op == opToken:
		return &c.Tokens
	case op == opChallenge:
		return &c.Challenges
	case op == opManifestHead:
		return &c.ManifestHEADs
	case op == opManifest:
		return &c.ManifestAsks
	case op == opBlob && head:
		return &c.BlobHEADs
	case op == opBlob:
		return &c.BlobGETs
	case op == opCDN && head:
		return &c.CDNHEADs
	case op == opCDN:
		return &c.CDNGETs
	case op == opTags:
		return &c.TagLists
	case op == opReferrers:
		return &c.Referrers
	default:
		return nil
	}
}
