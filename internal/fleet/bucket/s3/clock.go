package s3

import (
	"net/http"
	"sync"
	"time"
)

// clock is a transport that learns the store's time from its responses, since the clock
// of this machine may be wrong. The response to a long upload tells when that ended, which
// is not the time when its request was sent: that is only better than nothing.
type clock struct {
	next http.RoundTripper

	mu   sync.Mutex // guards the rest
	told time.Time  // by the last response
	sent time.Time  // when its request was sent
}

const slowest = 2 * time.Second // of the requests from which the time is learned

func (c *clock) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := time.Now()
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	if told, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.mu.Lock()
		if c.told.IsZero() || time.Since(sent) < slowest {
			c.told, c.sent = told, sent
		}
		c.mu.Unlock()
	}
	return resp, nil
}

// CloseIdleConnections is what http.Client looks for.
func (c *clock) CloseIdleConnections() { closeIdle(c.next) }

// now is the store's time; before the first response that of this machine, and false.
func (c *clock) now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told.IsZero() {
		return time.Now(), false
	}
	return c.told.Add(time.Since(c.sent)), true
}

// since is the time since t, by the store's clock.
func (c *clock) since(t time.Time) time.Duration {
	now, _ := c.now()
	return now.Sub(t)
}
