package lru_test

import (
	"fmt"
	"slices"
	"testing"

	"mirrord/internal/cache"
	"mirrord/internal/cache/lru"
	"mirrord/internal/oci"
)

var _ cache.Policy = (*lru.Policy)(nil)

// drain removes all victims and returns them in order.
func drain(p *lru.Policy) (order []oci.Digest) {
	for d, ok := p.Victim(); ok; d, ok = p.Victim() {
		order = append(order, d)
		p.Remove(d)
	}
	return order
}

func TestPolicy(t *testing.T) {
	p := lru.NewPolicy()
	if d, ok := p.Victim(); ok {
		t.Errorf("an empty policy has the victim %s", d)
	}
	for i, d := range []oci.Digest{"a", "b", "c", "d"} {
		p.Add(d, int64(i+1))
	}
	p.Touch("a")
	p.Add("b", 20)
	p.Remove("d")
	p.Remove("d")
	p.Touch("unknown")
	p.Remove("unknown")
	for range 2 {
		if d, ok := p.Victim(); !ok || d != "c" {
			t.Errorf("victim %q, %t, want c, and again until it is removed", d, ok)
		}
	}
	if p.Len() != 3 || p.Bytes() != 1+20+3 {
		t.Errorf("%d entries of %d bytes, want 3 of 24", p.Len(), p.Bytes())
	}
	if got, want := drain(p), []oci.Digest{"c", "a", "b"}; !slices.Equal(got, want) {
		t.Errorf("victims %v, want %v", got, want)
	}
	if p.Len() != 0 || p.Bytes() != 0 {
		t.Errorf("%d entries of %d bytes are left", p.Len(), p.Bytes())
	}
}

// simplelru limits the number of entries; a Policy must not.
func TestPolicyHasNoLimit(t *testing.T) {
	p := lru.NewPolicy()
	for i := range 100_000 {
		p.Add(oci.Digest(fmt.Sprint(i)), 10)
	}
	if p.Len() != 100_000 || p.Bytes() != 1_000_000 {
		t.Errorf("%d entries of %d bytes", p.Len(), p.Bytes())
	}
}

func TestBytes(t *testing.T) {
	b := lru.NewBytes[string](10)
	b.Add("a", "A", 4)
	b.Add("b", "B", 4)
	if v, ok := b.Get("a"); !ok || v != "A" {
		t.Errorf("a is %q, %t", v, ok)
	}
	b.Add("c", "C", 2)
	holds(t, b, 10, "a", "b", "c")
	b.Get("a")
	b.Add("d", "D", 5) // dropping b alone would leave 11
	holds(t, b, 9, "a", "d")
	b.Add("a", "AA", 1)
	holds(t, b, 6, "a", "d")
	if v, _ := b.Get("a"); v != "AA" {
		t.Errorf("a is %q after it was replaced", v)
	}
	b.Remove("a")
	b.Remove("a")
	holds(t, b, 5, "d")
}

func TestBytesTooLarge(t *testing.T) {
	b := lru.NewBytes[int](10)
	b.Add("small", 1, 1)
	b.Add("large", 2, 11)
	holds(t, b, 1, "small")
	b.Add("small", 3, 11) // the old value must not outlive its replacement
	holds(t, b, 0)
	b.Add("whole", 4, 10)
	holds(t, b, 10, "whole")

	none := lru.NewBytes[int](0)
	none.Add("a", 1, 1)
	holds(t, none, 0)
}

func holds[V any](t *testing.T, b *lru.Bytes[V], size int64, keys ...string) {
	t.Helper()
	if b.Size() != size || b.Len() != len(keys) {
		t.Errorf("%d values of %d bytes, want %d of %d", b.Len(), b.Size(), len(keys), size)
	}
	for _, key := range keys {
		if _, ok := b.Get(key); !ok {
			t.Errorf("%s is missing", key)
		}
	}
}
