package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"mirrord/internal/hubsim"
)

// toxin is a toxic on both ways to the hub.
type toxin struct {
	name   string
	json   string
	breaks bool // answers may fail while it is on
}

// toxicWay is the way to a hub through toxiproxy: to the registry, and to the CDN.
type toxicWay [2]*toxiproxy.Proxy

func newToxicWay(t *testing.T, hub *hubsim.Hub) toxicWay {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics have no other logger
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	registry, cdn := hub.Addresses()
	w := toxicWay{
		toxiproxy.NewProxy(server, "registry", "127.0.0.1:0", registry),
		toxiproxy.NewProxy(server, "cdn", "127.0.0.1:0", cdn),
	}
	for _, proxy := range w {
		if err := proxy.Start(); err != nil {
			t.Fatal(err)
		}
	}
	hub.Announce(w[0].Listen, w[1].Listen)
	return w
}

// put puts x on, also on connections that there are; remove takes it off.
func (w toxicWay) put(t *testing.T, x toxin) (remove func()) {
	t.Helper()
	w.change(t, x, func(toxics *toxiproxy.ToxicCollection) error {
		_, err := toxics.AddToxicJson(strings.NewReader(x.json))
		return err
	})
	return func() {
		w.change(t, x, func(toxics *toxiproxy.ToxicCollection) error {
			toxics.ResetToxics(context.Background())
			return nil
		})
	}
}

// change gives up when toxiproxy has locked itself up: it does when mirrord
// closes a connection in the middle of an answer just then, which it has no
// reason to.
func (w toxicWay) change(t *testing.T, x toxin, apply func(*toxiproxy.ToxicCollection) error) {
	t.Helper()
	done := make(chan error, len(w))
	for _, proxy := range w {
		go func() { done <- apply(proxy.Toxics) }()
	}
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	for range w {
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("%s: %v", x.name, err)
			}
		case <-late.C:
			t.Fatalf("%s: toxiproxy hangs", x.name)
		}
	}
}

// stop cuts all connections.
func (w toxicWay) stop() {
	for _, proxy := range w {
		proxy.Stop()
	}
}

// cut does so and lets new ones in.
func (w toxicWay) cut(t *testing.T) {
	t.Helper()
	w.stop()
	for _, proxy := range w {
		if err := proxy.Start(); err != nil {
			t.Fatal(err)
		}
	}
}
