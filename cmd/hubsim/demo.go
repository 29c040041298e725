package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"mirrord/internal/hubsim"
)

const (
	tagsFresh    = time.Second // tags.fresh of the daemon
	cdnBandwidth = 20 << 20    // bytes per second, so that a download takes noticeable time
	demoRepo     = "library/demo"
	demoTag      = "latest"
)

func demoCommand() *cobra.Command {
	var program string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Demonstrate mirrord in ten seconds",
		Long: `Demonstrate mirrord in ten seconds, without internet or Docker.

This runs the real daemon in front of the Docker Hub simulator on loopback. It
pulls an image twice over plain HTTP as a client does, then a third time with the
simulator stopped, and prints what each pull cost upstream: counted manifest GETs,
HEADs, bytes and time.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return demo(c.Context(), program, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&program, "mirrord", "", "path of the mirrord binary")
	_ = c.MarkFlagRequired("mirrord")
	return c
}

func demo(ctx context.Context, program string, out io.Writer) error {
	hub, err := hubsim.Start(hubsim.Options{Limit: 100})
	if err != nil {
		return err
	}
	defer hub.Close()
	mirror, err := startDaemon(ctx, program, hub.URL())
	if err != nil {
		return err
	}
	costs, err := pulls(ctx, hub, mirror.url)
	mirror.stop()
	if err != nil {
		return mirror.withOutput(err)
	}
	report(out, costs)
	return checkCosts(costs)
}

// seedDemo adds an index with one image of about 20 MB.
func seedDemo(hub *hubsim.Hub) error {
	amd64, err := hubsim.Layers(4, 5<<20, 1, hubsim.OCI)
	if err != nil {
		return err
	}
	arm64, err := hubsim.BusyboxImage("", v1.Platform{OS: "linux", Architecture: "arm64"}, 1, hubsim.OCI)
	if err != nil {
		return err
	}
	index, err := hubsim.Index(hubsim.OCI, amd64, arm64)
	if err != nil {
		return err
	}
	_, err = hub.AddIndex(demoRepo, demoTag, index)
	return err
}

// cost is what a pull cost the client and Docker Hub.
type cost struct {
	name     string
	took     time.Duration
	received int64          // by the client
	via      map[string]int // responses by their X-Mirrord-Cache
	upstream hubsim.Counters
	stopped  bool
}

// pulls adds an image to the hub and pulls it with a cold cache, with a warm cache and
// without an upstream, each time when the tag is no longer fresh.
func pulls(ctx context.Context, hub *hubsim.Hub, url string) ([]cost, error) {
	if err := seedDemo(hub); err != nil {
		return nil, err
	}
	hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: cdnBandwidth})
	var costs []cost
	for _, name := range []string{"1 cold cache", "2 warm cache", "3 Hub stopped"} {
		if len(costs) > 0 {
			if err := pause(ctx, tagsFresh+tagsFresh/10); err != nil {
				return nil, err
			}
		}
		stopped := len(costs) == 2
		if stopped {
			hub.Down()
		}
		c, err := measure(ctx, hub, url, name)
		if err != nil {
			return nil, fmt.Errorf("pull %s: %w", name, err)
		}
		c.stopped = stopped
		costs = append(costs, c)
	}
	return costs, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func measure(ctx context.Context, hub *hubsim.Hub, url, name string) (cost, error) {
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	p := &puller{http: http.Client{Transport: transport}, url: url, repo: demoRepo, via: map[string]int{}}
	hub.Reset()
	began := time.Now()
	if err := p.pull(ctx, demoTag); err != nil {
		return cost{}, err
	}
	took := time.Since(began)
	return cost{name: name, took: took, received: p.bytes, via: p.via, upstream: hub.Counters()}, nil
}

func report(out io.Writer, costs []cost) {
	const row = "%-14s %8v %12s %10s %22v %6v\n"
	fmt.Fprintf(out, row, "pull", "time", "client got", "from Hub", "manifest GETs counted", "HEADs")
	for _, c := range costs {
		fmt.Fprintf(out, row, c.name, c.took.Round(time.Millisecond), megabytes(c.received),
			megabytes(c.upstream.CDNBytes), c.upstream.ManifestGETs, c.upstream.ManifestHEADs)
	}
	fmt.Fprintln(out)
	for _, c := range costs {
		fmt.Fprintf(out, "Pull %s: %s\n", c.name, c.summary())
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// summary says where the responses came from, in the terms of X-Mirrord-Cache.
func (c cost) summary() string {
	var sources []string
	for _, via := range slices.Sorted(maps.Keys(c.via)) {
		sources = append(sources, fmt.Sprintf("%d %q", c.via[via], via))
	}
	closing := "Docker Hub got no requests."
	switch n := c.upstream; {
	case c.stopped:
		closing = "Docker Hub was down."
	case n.ManifestGETs > 0:
		closing = fmt.Sprintf("Docker Hub counted %d of the client's 100 pulls.", n.ManifestGETs)
	case n.ManifestHEADs > 0:
		closing = "Docker Hub was only asked whether the tag had moved, which is free."
	}
	return "mirrord responded with " + strings.Join(sources, ", ") + "; " + closing
}

// checkCosts returns an error when a warm pull cost anything upstream.
func checkCosts(costs []cost) error {
	var failures []error
	for _, c := range costs[1:] {
		if n := c.upstream; n.ManifestGETs > 0 || n.CDNBytes > 0 {
			failures = append(failures, fmt.Errorf("pull %s cost %d manifest GETs and %d bytes of blobs; it should cost nothing",
				c.name, n.ManifestGETs, n.CDNBytes))
		}
	}
	return errors.Join(failures...)
}
