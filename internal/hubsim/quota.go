package hubsim

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// quota counts the pulls of each identity.
type quota struct {
	limit  int
	limits map[string]int // of single accounts
	window time.Duration

	mu    sync.Mutex // guards spent
	spent map[string]*account
}

type account struct {
	opened time.Time // when its window began
	pulls  int
}

func newQuota(o Options) *quota {
	return &quota{limit: o.Limit, limits: o.UserLimits, window: o.Window, spent: map[string]*account{}}
}

// limitOf returns the limit of an identity; 0: no limit.
func (q *quota) limitOf(identity string) int {
	if limit, ok := q.limits[identity]; ok {
		return limit
	}
	return q.limit
}

// take takes n pulls, which may be 0, and returns how many are left. It takes nothing
// and returns false when fewer than n are left.
func (q *quota) take(identity string, n int, now time.Time) (left int, ok bool) {
	limit := q.limitOf(identity)
	if limit == 0 {
		return 0, true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.spent[identity]
	if a == nil || now.Sub(a.opened) >= q.window {
		a = &account{opened: now}
	}
	if a.pulls+n > limit {
		return limit - a.pulls, false
	}
	if n > 0 {
		a.pulls += n
		q.spent[identity] = a
	}
	return limit - a.pulls, true
}

// announce sets the quota headers of Docker Hub.
func (q *quota) announce(header http.Header, identity string, left int) {
	limit := q.limitOf(identity)
	if limit == 0 {
		return
	}
	seconds := int(q.window.Seconds())
	header.Set("Ratelimit-Limit", fmt.Sprintf("%d;w=%d", limit, seconds))
	header.Set("Ratelimit-Remaining", fmt.Sprintf("%d;w=%d", left, seconds))
	header.Set("Docker-Ratelimit-Source", identity)
}
