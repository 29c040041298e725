package hubsim

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// The operations of requests, for Fault.Op.
const (
	opToken        = "token"
	opPing         = "ping"
	opChallenge    = "challenge"
	opManifest     = "manifest"
	opManifestHead = "manifest-head"
	opBlob         = "blob"
	opCDN          = "cdn"
	opTags         = "tags"
	opReferrers    = "referrers"
	opForward      = "forward"
	opOther        = "other"
)

// operations are the values of Fault.Op.
var operations = []string{opToken, opPing, opChallenge, opManifest, opManifestHead, opBlob, opCDN, opTags, opReferrers, opForward, opOther}

// Fault is an injected failure or delay. It applies to the requests that match Op and
// Match; only the first matching fault of the list is applied to a request. Its
// fields combine: latency, then a status or else several changes to the body.
type Fault struct {
	// Op is "token", "ping", "manifest", "manifest-head", "blob" (GET and HEAD
	// at the registry), "cdn", "tags", "referrers", "forward" (a redirect to another
	// registry or repository), or empty for every request.
	// A request for content without a valid token is a "challenge" and none of these,
	// so that a fault applies to the request with the token.
	Op string
	// Match is a substring of the path of the URL, or of the requested scope of a
	// token; empty matches all.
	Match string
	// Times is the number of requests to which it applies; 0 means until it is removed.
	Times int

	// Latency delays the request before anything is done or sent, unless the client
	// disconnects.
	Latency time.Duration
	// Bandwidth limits the bytes of the body per second; 0 means no limit.
	Bandwidth int64
	// DropAfter cuts the connection after so many bytes of this body; -1 after the
	// header, 0 never. It does not affect a body that is not longer.
	DropAfter int64
	// StallAfter sends so many bytes of this body, and then nothing until the client
	// disconnects or the hub goes down; -1 means only the header, 0 never.
	StallAfter int64
	// FlipAt inverts the byte at this offset of the content, also within a range.
	FlipAt *int64
	// Truncate makes the content so many bytes shorter: the header has the shorter
	// length, or the shorter total of a range, and the body ends there cleanly.
	Truncate int64
	// NoLength omits Content-Length: the body is chunked.
	NoLength bool
	// NoRanges responds to the range of a blob with the whole blob.
	NoRanges bool
	// Endless sends zeros after the end of the content, without a length, until the
	// client disconnects. With Transport the request would never return.
	Endless bool

	// Headers replace headers of the normal response; an empty value removes the
	// header.
	Headers map[string]string
	// IgnoreRange responds to a range with the whole content.
	IgnoreRange bool
	// ShortRange ends the response to an open range after so many bytes.
	ShortRange int64
	// NoTotal omits the total size in Content-Range: RFC 9110 allows "*" for it.
	NoTotal bool

	// Token replaces members of the response of the token service, such as
	// "expires_in"; nil removes the member.
	Token map[string]any

	// Status is the status of a response that replaces the normal one, with Body,
	// ContentType and Header.
	Status      int
	Body        string
	ContentType string
	Header      map[string]string
	// Abuse responds with the 429 of the abuse limiter: plain text, Retry-After: 60.
	Abuse bool
	// PullLimit responds with the 429 of the pull limit: JSON, no Retry-After.
	PullLimit bool
}

// shapesBody reports whether the bytes cannot be passed through unchanged.
func (f *Fault) shapesBody() bool {
	return f.Bandwidth > 0 || f.DropAfter != 0 || f.StallAfter != 0
}

type faults struct {
	mu   sync.Mutex // guards list
	list []*Fault   // Times counts down
}

// take returns the fault for a request, or the zero Fault, and counts down its Times.
func (f *faults) take(op, path string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, fault := range f.list {
		if fault.Op != "" && fault.Op != op || !strings.Contains(path, fault.Match) {
			continue
		}
		struck := *fault
		if fault.Times == 1 {
			f.list = slices.Delete(f.list, i, i+1)
		}
		fault.Times = max(0, fault.Times-1)
		return struck
	}
	return Fault{}
}

func (f *faults) remove(fault *Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = slices.DeleteFunc(f.list, func(other *Fault) bool { return other == fault })
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = nil
}

// Inject adds a fault at the end of the list. remove removes it; it may also be called
// when its Times are used up.
func (h *Hub) Inject(f Fault) (remove func()) {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	h.faults.list = append(h.faults.list, &f)
	return func() { h.faults.remove(&f) }
}
