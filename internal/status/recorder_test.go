package status

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/oci"
)

// What is counted as what.
func TestNote(t *testing.T) {
	r, _ := newTest(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC))
	for _, q := range []Request{
		{Via: oci.Hit, Bytes: 1}, {Via: oci.Known}, {Via: oci.Revalidated}, {Via: oci.Stale, Bytes: 4},
		{Via: oci.Fill, Bytes: 8}, {Via: oci.Pass, Bytes: 16}, {Failed: true, Bytes: 32}, {},
	} {
		r.Note(q)
	}
	want := Traffic{Requests: 8, Hits: 4, Failed: 1, Bytes: 61}
	if diff := cmp.Diff(want, statusOf(r).Start); diff != "" {
		t.Error(diff)
	}
}

// Pulls are counted in the minute in which they were saved or spent. With fewer
// credentials the total is smaller, which is not negative pulls.
func TestPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var saved, spent atomic.Int64
		r := New(Options{Pulls: func() (int64, int64) { return saved.Load(), spent.Load() }, Clients: func() bool { return true }})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		saved.Store(5)
		spent.Store(2)
		time.Sleep(time.Minute)
		spent.Store(1)
		time.Sleep(time.Minute)
		saved.Store(6)
		spent.Store(3)
		h := r.History()
		if len(h.Minutes) != 3 || h.Minutes[0].PullsSaved != 5 || h.Minutes[0].PullsSpent != 2 || h.Minutes[2].PullsSaved != 1 || h.Minutes[2].PullsSpent != 2 {
			t.Errorf("%+v", h.Minutes)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Bytes from upstreams count when they arrive.
func TestTransport(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
	}))
	defer server.Close()
	r, _ := newTest(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC))
	c := http.Client{Transport: r.Transport(server.Client().Transport)}
	resp, err := c.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 70_000))
	_ = resp.Body.Close()
	if got := statusOf(r).Start.Fetched; err != nil || got < 70_000 || got > 100_000 {
		t.Errorf("%d bytes, %v", got, err)
	}
	server.Close()
	if resp, err := c.Get(server.URL); err == nil {
		_ = resp.Body.Close()
		t.Error("a server that is closed responds")
	}
}

func BenchmarkNote(b *testing.B) {
	r := New(Options{Pulls: func() (int64, int64) { return 0, 0 }, Clients: func() bool { return true }})
	client := oci.Client{Names: []string{"user:alice"}}
	b.ReportAllocs()
	for b.Loop() {
		r.Note(Request{Upstream: "docker.io", Repository: "library/alpine", Reference: "3", Manifest: true, Client: client.Key(), Via: oci.Hit, Bytes: 500})
	}
}

// A snapshot of as many images and clients as are counted holds up requests as long as it
// takes.
func BenchmarkSnapshot(b *testing.B) {
	r := New(Options{Pulls: func() (int64, int64) { return 0, 0 }, Clients: func() bool { return true }})
	for i := range maxUses {
		client := oci.Client{Names: []string{fmt.Sprintf("user:%d", i)}}
		r.Note(Request{Upstream: "docker.io", Repository: "library/alpine", Reference: fmt.Sprint(i), Manifest: true, Client: client.Key(), Via: oci.Hit, Bytes: 500})
	}
	for b.Loop() {
		var s Status
		r.snapshot(&s)
	}
}
