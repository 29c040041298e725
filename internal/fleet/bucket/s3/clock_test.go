package s3

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// store is a store whose clock is an hour ahead, and which takes that long to respond.
type store struct{ took time.Duration }

func (s *store) RoundTrip(*http.Request) (*http.Response, error) {
	<-time.After(s.took)
	told := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	return &http.Response{Header: http.Header{"Date": {told}}, Body: http.NoBody}, nil
}

// A long upload does not put the clock forward by as long as it took.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(store)
		c := &clock{next: s}
		if _, told := c.now(); told {
			t.Error("it knows the time without a response")
		}
		for _, took := range []time.Duration{time.Second, 0, time.Minute, 0} {
			s.took = took
			if _, err := c.RoundTrip(nil); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Minute)
			if now, told := c.now(); !told || now.Sub(time.Now().Add(time.Hour)).Abs() > 2*time.Second {
				t.Errorf("after a request of %s it is %s wrong", took, now.Sub(time.Now().Add(time.Hour)))
			}
		}
	})
}
