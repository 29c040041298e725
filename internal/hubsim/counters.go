package hubsim

import (
	"maps"
	"net/http"
	"sync"
)

// Counters counts the requests to the hub and their results. Every request is
// counted when it arrives: once in Requests and once by what it requests. The
// second group counts results.
type Counters struct {
	Requests         int
	Pings            int // of /v2/
	Tokens           int // requests to the token service
	Challenges       int // requests for content without a token for it: answered 401
	ManifestHEADs    int
	ManifestRequests int // GETs, with any result
	BlobGETs         int // at the registry, which redirects them
	BlobHEADs        int
	CDNGETs          int
	CDNHEADs         int
	TagLists         int
	Referrers        int
	Forwards         int // redirected to another registry or repository

	TokenFailures      int   // wrong account or password, sent to the token service or to the registry
	ManifestGETs       int   // answered 200: the pulls that Docker Hub counts
	Refused            int   // answered 429, of either kind
	CDNBytes           int64 // of blobs, sent by the CDN, or by the registry with Direct
	CDNAuthorization   int   // requests to the CDN with Authorization: answered 400
	OtherAuthorization int   // requests with Authorization to a host that has no use for it
	CDNForbidden       int   // links that have expired or are not signed for the method: answered 403
	RangeGETs          int   // of blobs, with a Range header

	// ManifestGETsByDigest breaks down ManifestGETs.
	ManifestGETsByDigest map[string]int
	// BlobGETsByDigest counts the downloads that began at the first byte.
	BlobGETsByDigest map[string]int
	// RefusedByRequest breaks down Refused by "METHOD path".
	RefusedByRequest map[string]int
}

type tally struct {
	mu sync.Mutex // guards n; must not be held while waiting
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

// arrive counts a request by what it requests.
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
		return &c.ManifestRequests
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
	case op == opForward:
		return &c.Forwards
	default:
		return nil
	}
}
