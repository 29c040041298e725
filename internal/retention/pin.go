package retention

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/docker/go-units"

	"mirrord/internal/oci"
)

// Pin is an image that is never evicted: a tag, whatever it names, or a digest.
type Pin struct {
	Ref    oci.Ref
	Since  time.Time
	Digest oci.Digest // what a tag named when that was last known; empty: nothing yet
}

// PinState is a pin, and what is pinned of it now.
type PinState struct {
	Pin
	Bytes  int64 // that it takes, those not cached yet and those of other pins too
	Cached bool  // its manifest is
	Short  int64 // it is not in effect, because it needs so many bytes more than Max allows; 0: it is
}

// maxPins is how many images can be pinned.
const maxPins = 10_000

// Pins returns the pins in the order in which they were made.
func (r *Retention) Pins() []PinState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.pins)
}

// Count is how many pins there are.
func (r *Retention) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pins)
}

// list returns the pins without their state.
func (r *Retention) list() []Pin {
	var pins []Pin
	for _, p := range r.Pins() {
		pins = append(pins, p.Pin)
	}
	return pins
}

// Pin pins the images that match. A pattern that is the name of one image pins it once it
// is cached. Pin pins all or nothing, and returns what it has pinned. It fails with
// ErrNoMatch or ErrTooLarge, with an error of the index, or when ctx ends.
func (r *Retention) Pin(ctx context.Context, patterns []Pattern) ([]PinState, error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	refs, err := r.toPin(patterns)
	if err != nil {
		return nil, err
	}
	pins := r.list()
	var added []Pin
	for _, ref := range refs {
		if !slices.ContainsFunc(pins, func(p Pin) bool { return p.Ref == ref }) {
			added = append(added, Pin{Ref: ref, Since: time.Now()})
		}
	}
	all := append(pins, added...)
	if len(all) > maxPins {
		return nil, fmt.Errorf("%w: %d images would be pinned, and at most %d can be; unpin others first", ErrTooLarge, len(all), maxPins)
	}
	if err := r.checkAdded(ctx, all, len(pins)); err != nil {
		return nil, err
	}
	if err := r.opts.Index.UpdatePins(added, nil); err != nil {
		return nil, fmt.Errorf("pins cannot be written: %w", err)
	}
	r.apply(context.WithoutCancel(ctx), all) // as the index has it now
	return r.statesOf(refs), nil
}

// checkAdded fails with ErrTooLarge when one of pins from the one with the number first on
// does not fit, or when ctx ends.
func (r *Retention) checkAdded(ctx context.Context, pins []Pin, first int) error {
	states, _, _ := r.plan(ctx, pins)
	if ctx.Err() != nil { // so that manifests were not read
		return context.Cause(ctx)
	}
	var short int64
	for _, s := range states[first:] {
		short = max(short, s.Short)
	}
	if short == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s too many beside what is pinned, of %s; unpin others, or raise cache.max_pinned",
		ErrTooLarge, units.BytesSize(float64(short)), units.BytesSize(float64(r.max.Load())))
}

// toPin returns the images that match, those that are named and not known yet too.
func (r *Retention) toPin(patterns []Pattern) ([]oci.Ref, error) {
	known := r.opts.Tags.All()
	found := make(map[oci.Ref]bool)
	for _, p := range patterns {
		matched := false
		for _, k := range known {
			if p.Match(k.Ref) {
				matched, found[k.Ref] = true, true
			}
		}
		ref, exact := p.Exact()
		switch {
		case exact:
			found[ref] = true
		case !matched:
			return nil, fmt.Errorf("%w %s; mirrord ls lists what the mirror knows, and an image with its tag, such as alpine:3, can be pinned before it is cached", ErrNoMatch, p)
		}
	}
	return sorted(found), nil
}

func sorted(refs map[oci.Ref]bool) []oci.Ref {
	var all []oci.Ref
	for ref := range refs {
		all = append(all, ref)
	}
	slices.SortFunc(all, func(a, b oci.Ref) int { return cmp.Compare(a.String(), b.String()) })
	return all
}

// Unpin unpins the images that match, and returns what they took. It fails with ErrNoMatch
// when a pattern matches no pin, with an error of the index, or when ctx ends.
func (r *Retention) Unpin(ctx context.Context, patterns []Pattern) ([]PinState, error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	pins := r.list()
	found := make(map[oci.Ref]bool)
	for _, pattern := range patterns {
		matched := false
		for _, pin := range pins {
			if pattern.Match(pin.Ref) {
				matched, found[pin.Ref] = true, true
			}
		}
		if !matched {
			return nil, fmt.Errorf("%w %s among those that are pinned; mirrord pin without a pattern lists them", ErrNoMatch, pattern)
		}
	}
	refs := sorted(found)
	unpinned := r.statesOf(refs)
	if err := r.opts.Index.UpdatePins(nil, refs); err != nil {
		return nil, fmt.Errorf("pins cannot be written: %w", err)
	}
	r.apply(context.WithoutCancel(ctx), slices.DeleteFunc(pins, func(p Pin) bool { return found[p.Ref] }))
	return unpinned, nil
}

func (r *Retention) statesOf(refs []oci.Ref) []PinState {
	return slices.DeleteFunc(r.Pins(), func(p PinState) bool { return !slices.Contains(refs, p.Ref) })
}

// apply pins what pins need as far as that fits, reports which of them no longer do, and
// writes what has changed of them. The caller holds turn.
func (r *Retention) apply(ctx context.Context, pins []Pin) {
	states, reached, err := r.plan(ctx, pins)
	if ctx.Err() != nil { // a manifest that could not be read must unpin nothing
		return
	}
	ds := make(map[oci.Digest]struct{}, len(reached))
	for d := range reached {
		ds[d] = struct{}{}
	}
	if err != nil { // the same: until it can be read
		maps.Copy(ds, r.last)
	}
	r.last = ds
	r.opts.Cache.Pin(ds)
	was := make(map[oci.Ref]PinState)
	for _, s := range r.Pins() {
		was[s.Ref] = s
	}
	r.mu.Lock()
	r.pins = states
	r.mu.Unlock()
	var moved []Pin
	for _, s := range states {
		if old := was[s.Ref]; s.Digest != old.Digest {
			moved = append(moved, s.Pin)
		}
		if s.Short > 0 && was[s.Ref].Short == 0 && r.opts.TooLarge != nil {
			r.opts.TooLarge(s.Ref, s.Short)
		}
	}
	if len(moved) > 0 {
		r.note(r.opts.Index.UpdatePins(moved, nil))
	}
}

// plan returns what each pin needs and all that is pinned: each pin as a whole, or nothing
// of it where it does not fit beside those before it. With an error, which is that of a
// manifest that cannot be read, more may be needed.
func (r *Retention) plan(ctx context.Context, pins []Pin) (states []PinState, all map[oci.Digest]int64, err error) {
	pins = slices.Clone(pins)
	slices.SortStableFunc(pins, func(a, b Pin) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Ref.String(), b.Ref.String()))
	})
	all, states = make(map[oci.Digest]int64), make([]PinState, 0, len(pins))
	var pinned int64
	for _, pin := range pins {
		s := PinState{Pin: pin}
		own, failed := r.reach(ctx, &s)
		err = cmp.Or(err, failed)
		var more int64
		for d, size := range own {
			s.Bytes = sum(s.Bytes, size)
			if _, shared := all[d]; !shared {
				more = sum(more, size)
			}
		}
		if total := sum(pinned, more); total > r.max.Load() {
			s.Short = total - r.max.Load()
		} else {
			pinned = total
			for d, size := range own {
				all[d] = size
			}
		}
		states = append(states, s)
	}
	return states, all, err
}

// reach returns what s needs, and notes what it names. A tag whose latest manifest is not
// cached needs the previous one too, and one that has been forgotten what it named last.
func (r *Retention) reach(ctx context.Context, s *PinState) (reached map[oci.Digest]int64, err error) {
	reached = make(map[oci.Digest]int64)
	named := oci.Descriptor{Digest: s.Ref.Digest()}
	if !s.Ref.ByDigest() {
		named.Digest = s.Digest
		if k, ok := r.opts.Tags.Known(s.Ref); ok {
			named = k.Latest
			err = r.opts.Images.Reach(ctx, oci.Descriptor{Digest: r.opts.Images.Served(k)}, reached)
		}
		s.Digest = named.Digest
	}
	if named.Digest != "" {
		err = cmp.Or(err, r.opts.Images.Reach(ctx, named, reached))
		_, s.Cached = r.opts.Cache.Blob(named.Digest)
	}
	return reached, err
}
