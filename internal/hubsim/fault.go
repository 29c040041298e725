package hubsim

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// What a request asks for, as Fault.Op says it.
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
	opOther        = "other"
)

// Fault is something that goes wrong, or slowly. It applies to the requests
// that match Op and Match; the first fault of the list that does is the only
// one. What it sets combines: latency, then a status, or else a body that
// suffers in several ways.
type Fault struct {
	// Op is "token", "ping", "manifest", "manifest-head", "blob" (GET and HEAD
	// at the registry), "cdn", "tags", "referrers", or empty for every request.
	// A request for content without a valid token is none of these but a
	// "challenge", so that a fault strikes the request that follows it.
	Op string
	// Match is a part of the URL's path, or of the scope that a token is asked
	// for; empty matches all.
	Match string
	// Times is how many requests it strikes; 0 means until it is removed.
	Times int

	// Latency passes before anything is done or sent, unless the client leaves.
	Latency time.Duration
	// Bandwidth is in bytes of body a second, evenly; 0 means no bound.
	Bandwidth int64
	// DropAfter cuts the connection after so many bytes of this body; -1 after
	// the header, 0 never. A body that is not longer is left alone.
	DropAfter int64
	// StallAfter sends so many bytes of this body, and then nothing until the
	// client leaves or the hub goes down; -1 means only the header, 0 never.
	StallAfter int64
	// FlipAt inverts the byte at this offset of the content, also when the
	// client asked for a range around it.
	FlipAt *int64
	// Truncate makes the content so many bytes shorter: the header announces
	// the shorter length, or the shorter whole of a range, and the body ends
	// there cleanly.
	Truncate int64
	// NoLength omits Content-Length: the body is chunked.
	NoLength bool
	// NoRanges answers the whole of a blob to who asks for a part.
	NoRanges bool
	// Endless goes on with zeros where the content ends, without a length,
	// until the client leaves. Over Transport it would never return.
	Endless bool

	// Headers take the place of those of the true answer; an empty value leaves
	// the header out.
	Headers map[string]string
	// IgnoreRange answers a request for a range with the whole.
	IgnoreRange bool
	// ShortRange ends an answer to a range without an end after so many bytes.
	ShortRange int64
	// NoTotal leaves the size of the whole out of Content-Range: RFC 9110 has
	// "*" for it.
	NoTotal bool

	// Token takes the place of what the token service's answer has by these
	// names, such as "expires_in"; nil leaves it out.
	Token map[string]any

	// Status is answered instead, with Body, ContentType and Header.
	Status      int
	Body        string
	ContentType string
	Header      map[string]string
	// Abuse answers the 429 of the abuse limiter: plain text, Retry-After: 60.
	Abuse bool
	// PullLimit answers the 429 of the pull limit: JSON, no Retry-After.
	PullLimit bool
}

// shapesBody is true when the bytes cannot be passed through as they are.
func (f *Fault) shapesBody() bool {
	return f.Bandwidth > 0 || f.DropAfter != 0 || f.StallAfter != 0
}

type faults struct {
	mu   sync.Mutex // guards list
	list []*Fault   // Times is what is left of it
}

// take returns the fault for a request, which is the zero Fault when there is
// none, and uses it up by one.
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

// Inject adds a fault after the ones there are. Remove takes it back, and may
// be called when it has been used up.
func (h *Hub) Inject(f Fault) (remove func()) {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	h.faults.list = append(h.faults.list, &f)
	return func() { h.faults.remove(&f) }
}
