package upstream

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// headTime is how long no HEAD is sent after a useless one: a registry
	// that answers HEAD wrongly does so until its next version.
	headTime = time.Hour
	maxHeads = 4096 // repositories
)

// uselessHeads remembers the repositories for which a HEAD does not describe what a
// tag names, so that a check sends the GET at once. It works per repository: one odd
// image must not turn the free checks of a whole upstream into pulls. It may be used
// concurrently.
type uselessHeads struct{ until *lru.Cache[string, time.Time] }

func newUselessHeads() uselessHeads {
	until, err := lru.New[string, time.Time](maxHeads)
	if err != nil {
		panic(err) // only for a size below one
	}
	return uselessHeads{until}
}

func (h uselessHeads) add(repository string)    { h.until.Add(repository, time.Now().Add(headTime)) }
func (h uselessHeads) remove(repository string) { h.until.Remove(repository) }

func (h uselessHeads) has(repository string) bool {
	until, ok := h.until.Get(repository)
	return ok && time.Now().Before(until)
}
