package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"mirrord/internal/admin"
	"mirrord/internal/status"
)

func newFleetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "fleet",
		Short: "Look at the mirrors that share a bucket, and clean that up",
		Args:  refuse(cobra.NoArgs),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newFleetStatusCommand(), newFleetCollectCommand())
	return c
}

func newFleetStatusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show which mirrors share the bucket, what its store can do, and whether it works",
		Long: `Show which mirrors share the bucket and run, and which have ended in the last hour and were not started again;
what its object store can do, what this mirror has read from it and written to it since the start, how fast it
responds, and since when and why it is left alone if it fails. The bucket is listed for this, which no request
of a client does.`,
		Args:              refuse(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	asJSON := c.Flags().Bool("json", false, "print JSON, with sizes in bytes")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		f, raw, err := mirror.FleetStatus(c.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			_, err = c.OutOrStdout().Write(raw)
			return err
		}
		_, err = io.WriteString(c.OutOrStdout(), fleetScreen(f, time.Now()))
		return err
	}
	return c
}

// fleetScreen writes a fleet for a person.
func fleetScreen(f admin.Fleet, now time.Time) string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, text string) { _, _ = fmt.Fprintf(table, "%s\t%s\n", name, printable(text)) }
	row("bucket", f.Bucket)
	row("store", storeText(f.Fleet))
	row("secret", secretTexts[f.Secret])
	row("works", worksText(f, now))
	row("responds", latencyText("read", f.Reads)+"; "+latencyText("write", f.Writes))
	row("read", bytesText(f.BytesRead)+" since the start, written "+bytesText(f.BytesWritten))
	row("uploads", fmt.Sprintf("%d %s", f.UploadsWaiting, either(f.UploadsWaiting, "waits", "wait")))
	if f.Leases != nil {
		row("leases", fmt.Sprintf("%d held here", *f.Leases))
	}
	if f.Problem != "" {
		row("problem", f.Problem)
	}
	_ = table.Flush()
	writeNodes(&b, f)
	return b.String()
}

// storeText says what the store can do.
func storeText(f status.Fleet) string {
	if !f.Probed {
		return "not known yet what it can do"
	}
	var can, cannot []string
	for _, c := range []struct {
		has  bool
		name string
	}{{f.Conditions, "conditional writes"}, {f.Ages, "right ages"}, {f.Touch, "touch"}} {
		if c.has {
			can = append(can, c.name)
		} else {
			cannot = append(cannot, "no "+c.name)
		}
	}
	return strings.Join(append(can, cannot...), ", ")
}

var secretTexts = map[string]string{
	"none":    "none; only blobs and manifests are shared",
	"unknown": "not compared with that of the fleet yet",
	"ok":      "that of the fleet",
	"wrong":   "not that of the fleet; only blobs and manifests are shared",
}

// worksText says whether the bucket works. It was listed just now, and is left alone only after
// several failures.
func worksText(f admin.Fleet, now time.Time) string {
	o := f.Outage
	switch {
	case o == nil && f.Unknown != "":
		return "no, it cannot be listed"
	case o == nil:
		return "yes"
	}
	return fmt.Sprintf("no, left alone since %s (%s): %s", o.Since.UTC().Format(time.RFC3339), ago(&o.Since, now), o.Error)
}

func latencyText(what string, l status.FleetLatency) string {
	switch {
	case l.Requests == 0:
		return "no " + what + "s yet"
	case l.Most == 0:
		return fmt.Sprintf("%s, many slower than 10 s", plural(int(l.Requests), what))
	}
	return fmt.Sprintf("95%% of %s within %s", plural(int(l.Requests), what), seconds(l.Most))
}

// writeNodes writes the mirrors that were seen.
func writeNodes(b *strings.Builder, f admin.Fleet) {
	b.WriteString("\n")
	if f.Unknown != "" {
		_, _ = fmt.Fprintf(b, "The other mirrors are not known: %s\n", printable(f.Unknown))
		return
	}
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NODE\tADDRESS\tVERSION\tSEEN\t")
	for _, n := range f.Nodes {
		address := n.Address
		if address == "" {
			address = "-"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s ago%s\t\n", printable(n.Node), printable(address), printable(n.Version),
			seconds(n.Seen).Round(time.Second), nodeNotes(n))
	}
	_ = table.Flush()
	if i := slices.IndexFunc(f.Nodes, func(n admin.FleetNode) bool { return n.Twice }); i >= 0 {
		_, _ = fmt.Fprintf(b, "\nMore than one mirror is named %s: give each its own fleet.node. One that was killed is listed for some minutes more.\n", printable(f.Nodes[i].Node))
	}
}

// nodeNotes are what else is to be said of a mirror.
func nodeNotes(n admin.FleetNode) (notes string) {
	for _, note := range []struct {
		applies bool
		text    string
	}{{n.Here, "this one"}, {n.Stopped, "stopped"}, {n.Twice, "name used twice, process " + printable(n.Boot)}} {
		if note.applies {
			notes += ", " + note.text
		}
	}
	return notes
}

func newFleetCollectCommand() *cobra.Command {
	g := new(fleetCollect)
	c := &cobra.Command{
		Use:   "gc [--dry-run]",
		Short: "Remove from the bucket what no mirror has used for long",
		Long: `Remove from the bucket the blobs, manifests and tags that are older than fleet.max_age and a day: mirrors touch
what they use once it is older than half of fleet.max_age. Also remove leases of more than a day, budgets of
more than a week, what mirrors said of themselves more than an hour ago, and the remains of uploads that broke
off more than a day ago. Objects of other programs stay. Run it once a day from one place, or let the store do
it: docs/fleet.md has lifecycle rules.`,
		Args:              refuse(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return g.run(c) },
	}
	c.Flags().BoolVar(&g.asJSON, "json", false, "print the lines of JSON that the mirror sends, with sizes in bytes")
	c.Flags().BoolVar(&g.dryRun, "dry-run", false, "only say what would be removed")
	addMirrorFlags(c)
	return c
}

// fleetCollect is one call of mirrord fleet gc.
type fleetCollect struct {
	asJSON, dryRun bool
	last           admin.FleetSweepLine
}

func (g *fleetCollect) run(c *cobra.Command) error {
	mirror, err := findMirror(c)
	if err != nil {
		return err
	}
	ctx, stop := untilInterrupted(c.Context())
	defer stop()
	out := c.OutOrStdout()
	err = mirror.SweepFleet(ctx, g.dryRun, func(raw []byte, line admin.FleetSweepLine) {
		g.last = line
		switch {
		case g.asJSON:
			_, _ = fmt.Fprintf(out, "%s\n", raw)
		case !line.Done:
			_, _ = fmt.Fprintf(c.ErrOrStderr(), "%s looked at, %d %s\n", plural(line.Objects, "object"), line.Total(), g.verb())
		}
	})
	return g.summarize(ctx, out, err)
}

func (g *fleetCollect) verb() string {
	if g.dryRun {
		return "to be removed"
	}
	return "removed"
}

// summarize says what was done, also when that was not all.
func (g *fleetCollect) summarize(ctx context.Context, out io.Writer, err error) error {
	switch {
	case g.last.Removed == nil: // it did not begin
	case g.asJSON && ctx.Err() != nil:
		_ = json.NewEncoder(out).Encode(g.last) // the mirror could not send it
	case !g.asJSON:
		g.writeSummary(out)
	}
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted; the same command goes on with the rest")
	case err == nil && g.last.Failed > 0:
		return fmt.Errorf("%s could not be removed: %s", plural(g.last.Failed, "object"), printable(g.last.Problem))
	}
	return err
}

func (g *fleetCollect) writeSummary(out io.Writer) {
	r := g.last.Result
	_, _ = fmt.Fprintf(out, "%s, %s; %d %s, %s\n", plural(r.Objects, "object"), units.BytesSize(float64(r.Bytes)), r.Total(), g.verb(), units.BytesSize(float64(r.Freed)))
	for _, kind := range slices.Sorted(maps.Keys(r.Removed)) {
		if n := r.Removed[kind]; n > 0 {
			_, _ = fmt.Fprintf(out, "  %-8s %d\n", kind, n)
		}
	}
	if r.Unknown > 0 {
		_, _ = fmt.Fprintf(out, "%s %s of this version of mirrord, and %s\n", plural(r.Unknown, "object"),
			either(r.Unknown, "is not", "are not"), either(r.Unknown, "stays", "stay"))
	}
}
