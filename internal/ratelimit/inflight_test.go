package ratelimit

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"mirrord/internal/oci"
)

func from(address string) context.Context {
	return oci.WithClient(context.Background(), oci.Client{Address: netip.MustParseAddr(address)})
}

// A client cannot exceed its requests in flight; this does not affect others, and a
// request that ends frees its place.
func TestInFlight(t *testing.T) {
	f := NewInFlight(2)
	for range 2 {
		if err := f.Enter(from("192.0.2.1")); err != nil {
			t.Fatal(err)
		}
	}
	var limit *oci.LimitError
	if err := f.Enter(from("192.0.2.1")); !errors.As(err, &limit) || !strings.Contains(err.Error(), "192.0.2.1 has 2 requests in flight") {
		t.Errorf("a third request: %v", err)
	}
	if err := f.Enter(from("192.0.2.2")); err != nil {
		t.Errorf("another client: %v", err)
	}
	f.Leave(from("192.0.2.1"))
	if err := f.Enter(from("192.0.2.1")); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	for range 2 {
		f.Leave(from("192.0.2.1"))
	}
	f.Leave(from("192.0.2.2"))
	if len(f.requests.of) != 0 {
		t.Errorf("%d clients are remembered", len(f.requests.of))
	}
}

func TestInFlightWithoutLimit(t *testing.T) {
	f := NewInFlight(0)
	for range 1000 {
		if err := f.Enter(from("192.0.2.1")); err != nil {
			t.Fatal(err)
		}
	}
}
