package ratelimit

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
)

// Each client has its own share, which refills over the window.
func TestClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClients(6)
		take := func(ip string) error {
			return c.Take(oci.WithClient(t.Context(), oci.Client{Address: netip.MustParseAddr(ip)}), "docker.io")
		}
		for range 6 {
			check(t, take("192.0.2.1"))
		}
		err := take("192.0.2.1")
		var limit *oci.LimitError
		if !errors.As(err, &limit) || limit.Kind != oci.LimitClient || !strings.Contains(err.Error(), "client 192.0.2.1 has") || !limit.RetryAt.Equal(time.Now().Add(time.Hour)) {
			t.Fatalf("%v, want the client's limit for an hour", err)
		}
		check(t, take("192.0.2.2"))
		check(t, c.Take(t.Context(), "docker.io")) // no client
		for range 6 {
			check(t, take("2001:db8::1"))
		}
		if take("2001:db8::2:3") == nil {
			t.Error("an address of the same /64 has a share of its own")
		}
		check(t, take("2001:db8:0:1::1"))

		client := oci.WithClient(t.Context(), oci.Client{Address: netip.MustParseAddr("192.0.2.1")})
		c.Return(client)
		check(t, c.Check(client, "docker.io"))
		check(t, take("192.0.2.1"))
		if c.Check(client, "docker.io") == nil || take("192.0.2.1") == nil {
			t.Error("more is given back than was taken")
		}
		<-time.After(time.Hour + time.Second)
		check(t, take("192.0.2.1"))
		if take("192.0.2.1") == nil {
			t.Error("a sixth of the window gives back more than a sixth of the share")
		}
	})
}

func TestNoShare(t *testing.T) {
	t.Parallel()
	c := NewClients(0)
	client := oci.WithClient(t.Context(), oci.Client{Address: netip.MustParseAddr("192.0.2.1")})
	for range 1000 {
		check(t, c.Take(client, "docker.io"))
	}
	c.Return(client)
}
