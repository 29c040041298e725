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
	window time.Duration

	mu    sync.Mutex // guards spent
	spent map[string]*account
}

type account struct {
	opened time.Time // when its window began
	pulls  int
}

func newQuota(limit int, window time.Duration) *quota {
	return &quota{limit: limit, window: window, spent: map[string]*account{}}
}

// take books n pulls, which may be none, and returns how many are left. It
// books nothing and is false when that many are not.
func (q *quota) take(identity string, n int, now time.Time) (left int, ok bool) {
	if q.limit == 0 {
		return 0, true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.spent[identity]
	if a == nil || now.Sub(a.opened) >= q.window {
		a = &account{opened: now}
	}
	if a.pulls+n > q.limit {
		return q.limit - a.pulls, false
	}
	if n > 0 {
		a.pulls += n
		q.spent[identity] = a
	}
	return q.limit - a.pulls, true
}

// announce sets the headers in which Docker Hub tells its quota.
func (q *quota) announce(header http.Header, identity string, left int) {
	if q.limit == 0 {
		return
	}
	seconds := int(q.window.Seconds())
	header.Set("Ratelimit-Limit", fmt.Sprintf("%d;w=%d", q.limit, seconds))
	header.Set("Ratelimit-Remaining", fmt.Sprintf("%d;w=%d", left, seconds))
	header.Set("Docker-Ratelimit-Source", identity)
}
