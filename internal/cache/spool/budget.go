package spool

import (
	"context"
	"io"
	"sync"

	"mirrord/internal/oci"
)

// passShare bounds what all readers of a blob get from the upstream ahead of its
// download: a fifth of it, so that no blob costs more than 1.2 times its size.
// Reads beyond that wait for the download.
const passShare = 5

// Budget bounds the parts of one blob that its readers request ahead of the
// download. It may outlive a download that fails: the next one of the same blob
// uses it up. Its methods may be called concurrently.
type Budget struct {
	probing chan struct{} // holds one while a reader finds out whether the upstream sends parts

	mu     sync.Mutex // guards all below; nothing blocks under it
	spent  int64      // bytes
	known  bool       // the upstream sends parts
	denied bool       // it does not, or has failed to
}

// NewBudget returns an unspent budget.
func NewBudget() *Budget { return &Budget{probing: make(chan struct{}, 1)} }

// take takes n bytes of a blob of that size from the budget, if they are left.
func (b *Budget) take(n, size int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.denied || n <= 0 || b.spent+n > size/passShare {
		return false
	}
	b.spent += n
	return true
}

// refund returns n bytes that were taken and not requested.
func (b *Budget) refund(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent -= n
}

// open requests a part by calling open. Until the upstream has sent one, parts
// are requested one at a time, because an upstream that ignores ranges begins to
// send the whole blob each time. After a failure none is requested any more: the
// download gets there anyway.
func (b *Budget) open(ctx context.Context, open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	if known, denied := b.state(); !known && !denied {
		select {
		case b.probing <- struct{}{}:
			defer func() { <-b.probing }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if _, denied := b.state(); denied {
		return nil, oci.ErrNoParts
	}
	body, err := open()
	if ctx.Err() == nil { // a client that leaves says nothing about the upstream
		b.note(err)
	}
	return body, err
}

func (b *Budget) state() (known, denied bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known, b.denied
}

func (b *Budget) note(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = b.known || err == nil
	b.denied = b.denied || err != nil
}
