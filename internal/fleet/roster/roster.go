// Package roster is which mirrors take part in a fleet: each writes an object that says
// where it is, for people who look at the fleet. No mirror acts on it.
package roster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"mirrord/internal/call"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
)

// Member is a mirror of the fleet, as it said itself.
type Member struct {
	Node    string // its name
	Boot    string // the process, so that mirrors of one name can be told apart
	Address string // where siblings reach it; empty: nowhere
	Version string
	Stopped bool          // it has ended
	Seen    time.Duration // since it said so, by the store's clock
}

const (
	every       = 5 * time.Minute
	retryAfter  = 30 * time.Second
	requestTime = 5 * time.Second

	// Present is how long after it was seen a mirror is taken to run.
	Present = every + time.Minute
	// Remembered is how long after it was seen a mirror is listed.
	Remembered = time.Hour
)

// card is the object of a member.
type card struct {
	Version  int    `json:"v"`
	Address  string `json:"addr,omitempty"`
	Software string `json:"version"`
	Stopped  bool   `json:"stopped,omitempty"`
}

// Beacon says that a mirror is there.
type Beacon struct {
	Bucket bucket.Bucket
	Self   Member

	// Failed reports the first of several failures; nil: nobody wants to know.
	Failed func(err error)
}

// Run writes the object of the mirror now, every five minutes, and once more when ctx
// ends, unless the bucket fails then. It never fails.
func (b Beacon) Run(ctx context.Context) error {
	var last error
	for {
		err := b.Write(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil && last == nil && b.Failed != nil {
			b.Failed(err)
		}
		last = err
		if !call.Sleep(ctx, pauseAfter(err)) {
			break
		}
	}
	if last == nil {
		_ = b.write(context.WithoutCancel(ctx), true) // else it is seen for some minutes more
	}
	return nil
}

func pauseAfter(err error) time.Duration {
	if err != nil {
		return retryAfter
	}
	return every
}

// Write writes the object of the mirror once.
func (b Beacon) Write(ctx context.Context) error { return b.write(ctx, false) }

func (b Beacon) write(ctx context.Context, stopped bool) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	raw, err := json.Marshal(card{1, b.Self.Address, b.Self.Version, stopped})
	if err != nil {
		return err
	}
	_, err = b.Bucket.Put(ctx, keys.Node(b.Self.Node, b.Self.Boot), raw, bucket.Cond{})
	return err
}

const (
	maxMembers = 1000
	maxCard    = 4 << 10 // bytes
	readAtOnce = 8
)

// List returns the mirrors that were seen in the last hour, sorted by name, those seen
// last first. It lists the bucket, and reads an object for each.
func List(ctx context.Context, b bucket.Bucket) ([]Member, error) {
	all, err := find(ctx, b)
	if err != nil {
		return nil, err
	}
	reads, ctx := errgroup.WithContext(ctx)
	reads.SetLimit(readAtOnce)
	for i := range all {
		reads.Go(func() error { return all[i].read(ctx, b) })
	}
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Member) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), cmp.Compare(a.Seen, b.Seen), strings.Compare(a.Boot, b.Boot))
	})
	return all, nil
}

// find returns what the keys of the objects say.
func find(ctx context.Context, b bucket.Bucket) ([]Member, error) {
	all := []Member{}
	for info, err := range b.List(ctx, keys.Nodes) {
		if err != nil {
			return nil, err
		}
		node, boot, ok := strings.Cut(strings.TrimPrefix(info.Key, keys.Nodes), "/")
		if !ok || info.Age > Remembered {
			continue
		}
		all = append(all, Member{Node: node, Boot: boot, Seen: info.Age})
		if len(all) == maxMembers {
			break
		}
	}
	return all, nil
}

// read reads what the object says. One that is gone, or invalid, says nothing.
func (m *Member) read(ctx context.Context, b bucket.Bucket) error {
	o, err := b.Get(ctx, keys.Node(m.Node, m.Boot), 0, "")
	if errors.Is(err, bucket.ErrAbsent) {
		return nil
	}
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(o.Body, maxCard))
	if err := errors.Join(err, o.Body.Close()); err != nil {
		return fmt.Errorf("read what %s says: %w", m.Node, err)
	}
	var c card
	if json.Unmarshal(raw, &c) == nil {
		m.Address, m.Version, m.Stopped = c.Address, c.Software, c.Stopped
	}
	return nil
}

// Latest returns, of all that List has returned, the mirrors that run, and of a name that none
// of those has the one that was seen last.
func Latest(all []Member) []Member {
	latest := []Member{}
	for _, m := range all {
		known := slices.ContainsFunc(latest, func(l Member) bool { return l.Node == m.Node })
		if !known && !isRunning(m.Node, all) || m.isPresent() {
			latest = append(latest, m)
		}
	}
	return latest
}

// isRunning reports whether a mirror with that name runs.
func isRunning(node string, all []Member) bool {
	return slices.ContainsFunc(all, func(m Member) bool { return m.Node == node && m.isPresent() })
}

// Twice reports whether another mirror of all has the name of m, and both run.
func (m Member) Twice(all []Member) bool {
	return m.isPresent() && slices.ContainsFunc(all, func(o Member) bool {
		return o.Node == m.Node && o.Boot != m.Boot && o.isPresent()
	})
}

func (m Member) isPresent() bool { return !m.Stopped && m.Seen <= Present }
