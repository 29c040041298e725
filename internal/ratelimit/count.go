package ratelimit

import (
	"sync"

	"mirrord/internal/oci"
)

// count counts something for each client, up to a limit. Methods may be called
// concurrently.
type count struct {
	limit int

	mu sync.Mutex // guards of
	of map[oci.ClientKey]int
}

func newCount(limit int) *count { return &count{limit: limit, of: make(map[oci.ClientKey]int)} }

// isLimited reports whether the client is counted: the unknown one is not.
func (c *count) isLimited(client oci.ClientKey) bool {
	return c.limit > 0 && client != (oci.ClientKey{})
}

// add counts one more, unless the client has reached the limit.
func (c *count) add(client oci.ClientKey) bool {
	if !c.isLimited(client) {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[client] >= c.limit {
		return false
	}
	c.of[client]++
	return true
}

// remove uncounts one that add has counted.
func (c *count) remove(client oci.ClientKey) {
	if !c.isLimited(client) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[client]--; c.of[client] == 0 {
		delete(c.of, client)
	}
}
