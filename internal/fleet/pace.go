package fleet

import (
	"fmt"
	"time"

	"mirrord/internal/fleet/bucket"
)

// A public store sends megabytes a second on each connection, and each of 32 downloads that
// share a line of 2 Mbit/s still gets 7 KiB/s.
const (
	slowTime  = 30 * time.Second // of waiting for an object
	slowBytes = 120 << 10        // that must arrive in it: 4 KiB/s
)

var errTooSlow = fmt.Errorf("%w: less than %d KiB in %s", bucket.ErrTimeout, slowBytes>>10, slowTime)

// pace is how fast the bucket sends an object, over all requests for it. The time between
// two reads, which the reader takes, does not count.
type pace struct {
	waited time.Duration // for the last bytes, up to slowTime
	got    int64         // of them
	slow   bool          // too little has arrived in slowTime
}

// add notes that n bytes have arrived after a wait of d.
func (p *pace) add(n int, d time.Duration) {
	p.waited += d
	p.got += int64(n)
	if p.waited < slowTime {
		return
	}
	p.slow = p.slow || p.got < slowBytes
	p.waited, p.got = 0, 0
}
