package lease

import (
	"context"
	"errors"
	"sync"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/oci"
)

// Lease is one that this mirror holds. It is renewed until it ends, by Leases.Done or Fail;
// when it is lost, what is fetched goes on without it. Its methods may be called
// concurrently.
type Lease struct {
	leases *Leases
	digest oci.Digest
	ended  chan struct{} // closed by end
	once   sync.Once

	// Of renewAll alone:
	record  record
	etag    string
	renewed time.Time // when the last renewal that succeeded was sent

	mu         sync.Mutex // guards the rest
	size, have int64
	moved      time.Time // when it last came nearer to the bucket
	fetched    bool      // the upstream has sent all
	kept       bool      // it is to be uploaded
	failed     oci.Code  // empty: it has not
}

// hold holds the lease that was written as r at the time sent, and renews it.
func (l *Leases) hold(d oci.Digest, r record, etag string, sent time.Time) *Lease {
	h := &Lease{leases: l, digest: d, ended: make(chan struct{}), record: r, etag: etag, renewed: sent, size: r.Size, moved: time.Now()}
	l.mu.Lock()
	before, stopped := l.held[d], l.stopped
	if !stopped {
		l.held[d] = h
		l.writes.Go(h.renewAll)
	}
	l.mu.Unlock()
	if before != nil {
		before.end()
	}
	return h // of a mirror that stops, it expires
}

// Progress notes how much was fetched, for who looks whether that goes on.
func (h *Lease) Progress(have, size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if have != h.have {
		h.moved = time.Now()
	}
	h.have, h.size = have, size
}

// Fetched notes that all was fetched. The lease ends soon unless Leases.Keep is called:
// what is not stored does not get into the bucket.
func (h *Lease) Fetched() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fetched, h.moved = true, time.Now()
}

func (h *Lease) keep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept, h.moved = true, time.Now()
}

// lingers reports whether nothing has happened for so long that nothing will.
func (h *Lease) lingers() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	limit := settleTime
	if h.fetched && !h.kept {
		limit = storeTime
	}
	return time.Since(h.moved) >= limit
}

// Fail tells the others that content could not be fetched, and ends the lease. It does not
// wait.
func (h *Lease) Fail(code oci.Code) {
	h.mu.Lock()
	h.failed = code
	h.mu.Unlock()
	h.end()
}

// end stops the renewal: the lease expires.
func (h *Lease) end() {
	h.once.Do(func() {
		h.leases.mu.Lock()
		if h.leases.held[h.digest] == h {
			delete(h.leases.held, h.digest)
		}
		h.leases.mu.Unlock()
		close(h.ended)
	})
}

// renewAll renews the lease until it ends or is lost. If it has failed, it says so.
func (h *Lease) renewAll() {
	defer h.end()
	if h.renewUntilEnd() {
		h.mu.Lock()
		code := h.failed
		h.mu.Unlock()
		if code != "" {
			h.record.State, h.record.Code = Failed, string(code)
			_ = h.write() // else it expires
		}
	}
}

// renewUntilEnd reports whether the lease was held until its end.
func (h *Lease) renewUntilEnd() bool {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for !h.lingers() {
		select {
		case <-h.ended:
			return true
		case <-ticker.C:
		}
		if !h.renew() {
			return false
		}
	}
	return false
}

// renew renews the lease once. It reports whether it is still held.
func (h *Lease) renew() bool {
	h.mu.Lock()
	h.record.Have, h.record.Size = h.have, h.size
	h.mu.Unlock()
	if err := h.write(); errors.Is(err, errLost) {
		return false
	}
	return time.Since(h.renewed) < lostAfter
}

var errLost = errors.New("the lease is another mirror's")

// write writes the lease over what this mirror has written before, and finds out what
// became of a write whose response was lost.
func (h *Lease) write() error {
	l := h.leases
	ctx := context.Background()
	h.record.Seq++
	sent := time.Now()
	etag, err := l.put(ctx, h.digest, h.record, bucket.IfMatch(h.etag))
	if err == nil {
		h.etag, h.renewed = etag, sent
		return nil
	}
	now, readErr := l.read(ctx, h.digest)
	switch {
	case errors.Is(readErr, bucket.ErrAbsent):
		return errLost
	case readErr != nil:
		return err
	case now.record.Nonce != h.record.Nonce:
		return errLost
	}
	h.etag = now.etag
	if now.record.Seq == h.record.Seq {
		h.renewed = sent
		return nil
	}
	return err
}
