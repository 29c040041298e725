package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"time"

	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// TestFarAhead finds that who has the beginning already does not wait for a holder that is
// far behind: it goes on from the upstream.
func TestFarAhead(t *testing.T) {
	together(t, func(g *group) {
		a, b := g.add("a"), g.add("b")
		held := a.holds()
		for have := range int64(60) {
			time.AfterFunc(time.Duration(have)*time.Second, func() { held.Progress(have, int64(len(g.blob))) })
		}
		a.serves(func(ctx context.Context, _ oci.Digest) (*oci.Content, error) {
			return g.content(breaks{bytes.NewReader(g.blob), 1000, time.Minute}), nil
		})
		begun := time.Now()
		content, err := b.registry.Open(oci.WithPartHint(g.Context(), oci.Span{Begin: 60_000}), g.ref)
		if err != nil {
			g.Fatal(err)
		}
		got, err := io.ReadAll(content.Body) // the fake cannot begin in the middle
		if took := time.Since(begun); err != nil || !bytes.Equal(got, g.blob) || took > 6*time.Second {
			g.Errorf("%d bytes in %v: %v", len(got), took, err)
		}
		if err := content.Close(); err != nil {
			g.Error(err)
		}
		time.Sleep(2 * time.Minute) // what waits ends
	})
}

// TestLongStream finds that a holder whose stream breaks off after a while is asked again,
// without a try to take over what it has renewed meanwhile.
func TestLongStream(t *testing.T) {
	together(t, func(g *group) {
		a, b := g.add("a"), g.add("b")
		a.holds()
		a.serves(func(context.Context, oci.Digest) (*oci.Content, error) {
			a.serves(func(context.Context, oci.Digest) (*oci.Content, error) {
				if n := g.memory.Counts()[buckettest.Put]; n != 7 {
					g.Errorf("%d writes, want that of the lease, and 6 renewals", n)
				}
				return g.all(g.Context(), "")
			})
			return g.content(breaks{bytes.NewReader(g.blob), 30_000, 20 * time.Second}), nil
		})
		b.want(oci.Peer, 0, fleet.Waiter)
	})
}

// TestWrongSize finds that a mirror which has another size than its lease says is not read.
func TestWrongSize(t *testing.T) {
	together(t, func(g *group) {
		a, b := g.add("a"), g.add("b")
		a.holds().Progress(10, int64(len(g.blob)))
		time.Sleep(4 * time.Second) // until that is written
		a.serves(func(context.Context, oci.Digest) (*oci.Content, error) {
			return g.content(bytes.NewReader(g.blob[:90_000])), nil
		})
		b.want(oci.Pass, 1, fleet.Takeover)
	})
}

// TestWrongSizeInBucket finds that an object of another size than the lease says is not passed
// on.
func TestWrongSizeInBucket(t *testing.T) {
	together(t, func(g *group) {
		a, b := g.add("a"), g.add("b")
		a.holds().Progress(10, int64(len(g.blob)))
		time.Sleep(4 * time.Second) // until that is written
		a.serves(func(context.Context, oci.Digest) (*oci.Content, error) {
			put(g.T, g.memory, g.ref.Digest(), ocitest.Content(2*len(g.blob), 1))
			return nil, fs.ErrNotExist
		})
		b.want(oci.Pass, 1)
		if b.corrupt != 1 {
			g.Errorf("reported %d times", b.corrupt)
		}
	})
}

// TestBlame finds that of two mirrors that have sent wrong bytes together neither is read
// from for a while.
func TestBlame(t *testing.T) {
	together(t, func(g *group) {
		a, b, c := g.add("a"), g.add("b"), g.add("c")
		a.holds()
		a.serves(func(context.Context, oci.Digest) (*oci.Content, error) {
			_, seen := c.leases.Acquire(g.Context(), g.ref.Digest())
			if held, _ := c.leases.TakeOver(g.Context(), seen); held == nil {
				g.Error("not taken over")
			}
			wrong := ocitest.Content(len(g.blob), 9)
			return g.content(breaks{bytes.NewReader(wrong), 30_000, 0}), nil
		})
		c.serves(g.all)
		if err := fill(g.T, b.registry, g.ref); !errors.Is(err, oci.ErrCorrupt) {
			g.Errorf("fill: %v", err)
		}
		b.want(oci.Pass, 1, fleet.Waiter)
		for i, m := range []*member{a, c} {
			g.blob = ocitest.Content(100_000, byte(2+i))
			g.ref = ocitest.BlobRef(t, b.fake.AddBlob(ocitest.Repo, g.blob))
			m.holds()
			m.serves(func(context.Context, oci.Digest) (*oci.Content, error) { return nil, fs.ErrNotExist })
			b.want(oci.Pass, 1, fleet.Alone)
		}
	})
}

// TestNotStored finds that a lease is not held for content that does not get into the bucket,
// and that it is held for as long as it takes to get there.
func TestNotStored(t *testing.T) {
	for name, test := range map[string]struct {
		stored bool
		after  time.Duration
		held   int
	}{"stored": {true, 18 * time.Minute, 1}, "not stored": {false, 2 * time.Minute, 0}} {
		t.Run(name, func(t *testing.T) {
			together(t, func(g *group) {
				m := newMirror(g.T)
				a := g.add("a")
				m.registry = fleet.New(fleet.Options{
					Next: a.fake, Bucket: dribbling{g.memory},
					Work:   &fleet.Work{Leases: a.leases, Ready: func() bool { return true }},
					Public: func(oci.Ref) bool { return true },
				})
				m.cache(g.blob)
				m.run(20*time.Minute, func(u *fleet.Uploads) {
					wantRead(g.T, m.registry, g.ref, g.blob, oci.Pass)
					if test.stored {
						u.Stored(g.ref, oci.Pass)
					}
					time.AfterFunc(test.after, func() {
						if n := len(a.leases.Held()); n != test.held {
							g.Errorf("holds %d, want %d", n, test.held)
						}
					})
				})
				if n := len(a.leases.Held()); n != 0 {
					g.Errorf("holds %d at the end", n)
				}
			})
		})
	}
}

// dribbling is a Bucket into which a thousand bytes go in ten seconds, after a while.
type dribbling struct{ *buckettest.Memory }

func (b dribbling) Upload(ctx context.Context, key string, from io.ReaderAt, size int64, c bucket.Cond) error {
	time.Sleep(2 * time.Minute)
	for off := int64(0); off < size; off += 1000 {
		time.Sleep(10 * time.Second)
		if _, err := from.ReadAt(make([]byte, 1000), off); err != nil && err != io.EOF {
			return err
		}
	}
	return b.Memory.Upload(context.WithoutCancel(ctx), key, from, size, c)
}
