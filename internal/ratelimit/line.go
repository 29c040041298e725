package ratelimit

import (
	"context"

	"golang.org/x/time/rate"

	"mirrord/internal/oci"
)

const (
	// Bytes are sent in pieces of a fiftieth of a second: so short that a line is shared
	// evenly, and so long that the system calls do not show.
	piecesPerSecond = 50
	minPiece        = 16 << 10
	maxPiece        = 256 << 10

	burstsPerSecond = 10 // what was not sent for a tenth of a second is lost
)

// Line limits how fast bytes are sent to clients: to each of them, over all of its
// connections, and to all together. When all together want more than the line has,
// every client that wants something has an equal share, whatever the number of its
// connections, and what one leaves of its share goes to the others. Methods may be
// called concurrently.
type Line struct {
	piece   int
	clients *buckets  // nil: no limit for each
	shares  *fairLine // nil: no limit for all together
}

// NewLine returns a Line that sends each client perClient bytes a second, and total to
// all together; 0 means no limit.
func NewLine(perClient, total int64) *Line {
	l := &Line{piece: maxPiece}
	for _, r := range []int64{perClient, total} {
		if r > 0 {
			l.piece = min(l.piece, max(minPiece, int(r/piecesPerSecond)))
		}
	}
	if perClient > 0 {
		l.clients = newBuckets(rate.Limit(perClient), l.burst(perClient))
	}
	if total > 0 {
		l.shares = newFairLine(total, l.burst(total), l.piece)
	}
	return l
}

func (l *Line) burst(perSecond int64) int { return max(l.piece, int(perSecond/burstsPerSecond)) }

// Piece is how many bytes Wait takes at most.
func (l *Line) Piece() int { return l.piece }

// Wait returns when n bytes, up to a piece, may be sent to the client of ctx, see
// oci.ClientOf. It fails when ctx ends. The unknown client has a share like others.
func (l *Line) Wait(ctx context.Context, n int) error {
	client := oci.ClientOf(ctx).Key()
	if l.clients != nil {
		if err := l.clients.of(client).WaitN(ctx, n); err != nil {
			return err
		}
	}
	if l.shares != nil {
		return l.shares.wait(ctx, client, n)
	}
	return nil
}
