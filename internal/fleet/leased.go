package fleet

import (
	"io"

	"mirrord/internal/fleet/lease"
	"mirrord/internal/oci"
)

// leased is the upstream's body while this mirror holds the lease of its content.
type leased struct {
	io.ReadCloser
	lease *lease.Lease
	size  int64
	have  int64
	err   error // why it has failed
	whole bool
}

// newLeased returns body with what the holder of a lease owes the others. It has the
// optional interfaces of body.
func newLeased(body io.ReadCloser, held *lease.Lease, size int64) io.ReadCloser {
	l := &leased{ReadCloser: body, lease: held, size: size}
	if s, ok := body.(seekable); ok {
		return &leasedSeeker{l, s}
	}
	return l
}

func (l *leased) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	l.have += int64(n)
	l.lease.Progress(l.have, l.size)
	if l.whole = l.whole || err == io.EOF || l.have == l.size; err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}

// Checked implements oci.Checked.
func (l *leased) Checked(err error) {
	if err != nil {
		l.err, l.whole = err, false
	}
	if checked, ok := l.ReadCloser.(oci.Checked); ok {
		checked.Checked(err)
	}
}

// Close gives the lease up, unless all was read: then it stays until it is in the bucket.
func (l *leased) Close() error {
	if l.whole {
		l.lease.Fetched()
	} else {
		l.lease.Fail(oci.CodeOf(l.err))
	}
	return l.ReadCloser.Close()
}

// seekable is a body that can do all that one of the upstream can.
type seekable interface {
	io.Seeker
	oci.Reopener
	oci.Idler
}

type leasedSeeker struct {
	*leased
	seekable
}

func (l *leasedSeeker) Seek(offset int64, whence int) (int64, error) {
	at, err := l.seekable.Seek(offset, whence)
	if err == nil {
		l.have = at
	}
	return at, err
}
