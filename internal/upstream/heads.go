package upstream

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// headTime is how long no HEAD is sent after one in vain: a registry learns
	// to answer it with its next version, not sooner.
	headTime = time.Hour
	maxHeads = 4096 // repositories
)

// heads remembers the repositories of which a HEAD does not tell what a tag
// names, so that not every check of one sends it in vain before its GET. It
// goes by repository: what a client asks for in one must not turn the free
// checks of all others into pulls. It may be used concurrently.
type heads struct{ until *lru.Cache[string, time.Time] }

func newHeads() heads {
	until, err := lru.New[string, time.Time](maxHeads)
	if err != nil {
		panic(err) // only for a size below one
	}
	return heads{until}
}

func (h heads) add(repository string)    { h.until.Add(repository, time.Now().Add(headTime)) }
func (h heads) remove(repository string) { h.until.Remove(repository) }

func (h heads) inVain(repository string) bool {
	until, ok := h.until.Get(repository)
	return ok && time.Now().Before(until)
}
