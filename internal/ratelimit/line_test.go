package ratelimit

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
)

// demand is what one client wants.
type demand struct {
	address     string
	connections int
	pause       time.Duration // after every piece, or every tenth one if stutters
	stutters    bool
}

// download sends pieces over one connection until ctx ends, and adds them up.
func (d demand) download(ctx context.Context, l *Line, sent *atomic.Int64) {
	client := oci.WithClient(ctx, oci.ClientOf(from(d.address)))
	for n := 0; l.Wait(client, l.Piece()) == nil; n++ {
		sent.Add(int64(l.Piece()))
		if !d.stutters || n%10 == 0 {
			time.Sleep(d.pause)
		}
	}
}

// sendFor returns the bytes a second that each of the clients gets over that time.
func sendFor(l *Line, period time.Duration, demands ...demand) map[string]float64 {
	ctx, end := context.WithTimeout(context.Background(), period)
	defer end()
	sent := make([]atomic.Int64, len(demands))
	var all sync.WaitGroup
	for i, d := range demands {
		for range d.connections {
			all.Go(func() { d.download(ctx, l, &sent[i]) })
		}
	}
	all.Wait()
	rates := make(map[string]float64)
	for i, d := range demands {
		rates[d.address] = float64(sent[i].Load()) / period.Seconds()
	}
	return rates
}

// about fails t unless got is within 5 % of want.
func about(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > want/20 {
		t.Errorf("%s: %.0f bytes a second, want %.0f", what, got, want)
	}
}

// One connection gets as much of a full line as 64 of another client.
func TestLineIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rates := sendFor(NewLine(0, 10e6), time.Minute,
			demand{"192.0.2.1", 64, time.Millisecond, false}, demand{"192.0.2.2", 1, time.Millisecond, false}, demand{"192.0.2.3", 3, 0, false})
		for address, rate := range rates {
			about(t, address, rate, 10e6/3)
		}
	})
}

// A client that could not take its share for a moment makes up for it.
func TestLineWaitsForStutters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rates := sendFor(NewLine(0, 10e6), time.Minute,
			demand{"192.0.2.1", 64, 0, false}, demand{"192.0.2.2", 1, 100 * time.Millisecond, true})
		about(t, "the one that stutters", rates["192.0.2.2"], 5e6)
	})
}

// What one client leaves of its share goes to the others, in equal parts; that one
// hardly waits.
func TestLineIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pause = 200 * time.Millisecond
		l := NewLine(0, 10e6)
		rates := sendFor(l, time.Minute,
			demand{"192.0.2.1", 64, 0, false}, demand{"192.0.2.2", 1, 0, false}, demand{"192.0.2.3", 1, pause, false})
		slow, wanted := rates["192.0.2.3"], float64(l.Piece())/pause.Seconds()
		if slow < wanted*0.85 {
			t.Errorf("the slow one: %.0f bytes a second of %.0f", slow, wanted)
		}
		about(t, "one of the others", rates["192.0.2.1"], (10e6-slow)/2)
		about(t, "the other", rates["192.0.2.2"], (10e6-slow)/2)
	})
}

// A client that begins when others have long had their bytes gets its share at once,
// and no more for what it did not want before.
func TestLineForgetsThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLine(0, 10e6)
		about(t, "alone", sendFor(l, time.Minute, demand{"192.0.2.1", 8, 0, false})["192.0.2.1"], 10e6)
		rates := sendFor(l, 10*time.Second, demand{"192.0.2.1", 8, 0, false}, demand{"192.0.2.2", 8, 0, false})
		about(t, "the first", rates["192.0.2.1"], 5e6)
		about(t, "the second", rates["192.0.2.2"], 5e6)
	})
}

// Each client has its bandwidth, over all of its connections, beside the total.
func TestLineForEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clients := []demand{{"192.0.2.1", 64, 0, false}, {"192.0.2.2", 1, 0, false}, {"192.0.2.3", 1, 0, false}}
		for address, rate := range sendFor(NewLine(1e6, 0), time.Minute, clients...) {
			about(t, "each, "+address, rate, 1e6)
		}
		for address, rate := range sendFor(NewLine(1e6, 10e6), time.Minute, clients...) {
			about(t, "each and total, "+address, rate, 1e6)
		}
		for address, rate := range sendFor(NewLine(5e6, 6e6), time.Minute, clients...) {
			about(t, "total below each, "+address, rate, 2e6)
		}
	})
}

// Clients that leave while they wait take nothing with them and leave nothing behind.
func TestLineAfterLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLine(0, minPiece)
		gone := errors.New("gone")
		ctx, leave := context.WithCancelCause(from("192.0.2.1"))
		left := make(chan error)
		for range 10 {
			go func() { left <- l.Wait(ctx, minPiece) }()
		}
		synctest.Wait()
		leave(gone)
		for n := range 10 {
			if err := <-left; err != nil != (n > 0) || err != nil && !errors.Is(err, gone) {
				t.Errorf("%d: %v", n, err)
			}
		}
		begun := time.Now()
		if err := l.Wait(from("192.0.2.2"), minPiece); err != nil || time.Since(begun) > time.Second {
			t.Errorf("another client: %v after %s", err, time.Since(begun))
		}
		if len(l.shares.waiting) != 0 {
			t.Errorf("%d shares are waiting", len(l.shares.waiting))
		}
	})
}

// Clients without number do not take memory without bound.
func TestLineForgetsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFairLine(1<<40, 1<<40, maxPiece)
		for i := range 3 * maxClients {
			client := oci.Client{Names: []string{time.Duration(i).String()}}.Key()
			if err := l.wait(t.Context(), client, 1); err != nil {
				t.Fatal(err)
			}
		}
		if len(l.shares) > maxClients {
			t.Errorf("%d clients are remembered", len(l.shares))
		}
	})
}
