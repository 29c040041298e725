package images

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"mirrord/internal/oci"
)

const (
	maxSeen   = 8192 // tags whose requests are remembered
	maxReason = 512  // bytes of a reason
)

// Request is a request of a client for a tag that has ended.
type Request struct {
	Upstream, Repository, Tag string

	Via oci.Via // empty after an error
	Err error   // why it failed, or nil
}

// hit reports whether r was served from the cache.
func (r Request) hit() bool {
	return r.Err == nil && (r.Via == oci.Hit || r.Via == oci.Revalidated || r.Via == oci.Stale || r.Via == oci.Known)
}

// why says why r is no hit.
func (r Request) why() string {
	switch {
	case r.Err != nil:
		text := r.Err.Error()
		return text[:min(len(text), maxReason)]
	case r.Via == oci.Pass:
		return "the manifest was not cached, and was sent past the cache"
	}
	return "the manifest was not cached, or the tag had moved; it was fetched"
}

// Uses are the requests for a tag since the mirror's start, or since the tag was last
// forgotten because so many others were requested.
type Uses struct {
	Requests int64
	Hits     int64     // of them served from the cache
	Last     time.Time // zero: none
	Missed   time.Time // when the last one came that was no hit; zero: none
	Why      string    // it was none
}

// Seen remembers the requests for tags. Its methods may be called concurrently.
type Seen struct {
	mu   sync.Mutex // guards tags; held for no I/O
	tags *lru.Cache[seenKey, Uses]
}

type seenKey struct{ upstream, repository, tag string }

func newSeen() *Seen {
	tags, err := lru.New[seenKey, Uses](maxSeen)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &Seen{tags: tags}
}

// Note notes a request that has ended.
func (s *Seen) Note(r Request) {
	key, now := seenKey{r.Upstream, r.Repository, r.Tag}, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	uses, _ := s.tags.Get(key)
	uses.Requests++
	uses.Last = now
	if r.hit() {
		uses.Hits++
	} else {
		uses.Missed, uses.Why = now, r.why()
	}
	s.tags.Add(key, uses)
}

// Of returns the requests for ref, a tag.
func (s *Seen) Of(ref oci.Ref) Uses {
	uses, _ := s.tags.Peek(seenKey{ref.Upstream(), ref.Repository(), ref.Tag()})
	return uses
}
