package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"mirrord/internal/admin"
)

func newExplainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain IMAGE",
		Short: "Say what of an image is cached, and what a pull of it would cost now",
		Long: `Say what of an image is cached, how fresh its tag is and when the upstream is asked again, why the
last request that was no hit was none, and what a pull would cost now: manifest GETs, which the pull
limits of registries count, and bytes. The upstream is not asked. What was requested is remembered
since the mirror's start.`,
		Example:           "mirrord explain alpine:3\nmirrord explain quay.io/prometheus/prometheus@sha256:…",
		Args:              refuse(cobra.ExactArgs(1)),
		ValidArgsFunction: completeImages,
	}
	asJSON := c.Flags().Bool("json", false, "print JSON")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		e, raw, err := mirror.Explain(c.Context(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			_, err = c.OutOrStdout().Write(raw)
			return err
		}
		return writeExplanation(c.OutOrStdout(), e, time.Now())
	}
	return c
}

// writeExplanation writes e for a person, at the time now.
func writeExplanation(w io.Writer, e admin.Explanation, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("image", "%s", e.Name)
	switch {
	case !e.Known:
		line("cached", "nothing is known of it; a pull fetches all of it, and spends 1 pull, or 2 for an image of several platforms")
	case !e.Cached:
		line("manifest", "%s, not cached", e.Digest)
	default:
		line("manifest", "%s, cached", e.Digest)
	}
	if e.Stale != "" {
		line("stale copy", "%s is served while the upstream cannot be asked", e.Stale)
	}
	if e.Tag != nil {
		line("tag", "%s", freshness(*e.Tag, now))
	}
	if e.Requests > 0 {
		line("requests", "%d for the tag, %d of them hits; the last %s", e.Requests, e.Hits, ago(e.LastUsed, now))
	}
	if e.Missed != nil {
		line("last miss", "%s: %s", ago(e.Missed, now), e.Why)
	}
	if len(e.Variants) == 0 && e.Pulls != nil && *e.Pulls > 0 {
		line("a pull now", "spends 1 pull for the manifest; what it names is not known")
	}
	if err := table.Flush(); err != nil || len(e.Variants) == 0 {
		return err
	}
	return writeVariants(w, e.Variants)
}

// freshness says when the upstream confirmed a tag, and when it is asked again.
func freshness(t admin.TagState, now time.Time) string {
	text := "checked " + ago(t.Checked, now) + "; "
	if t.Refused != "" {
		text = fmt.Sprintf("the upstream refused it %s (%s); ", ago(t.RefusedAt, now), t.Refused)
	}
	if t.Failed != "" {
		text += "the last check failed (" + t.Failed + "); "
	}
	if t.NextCheck != nil && t.NextCheck.After(now) {
		return text + "served without asking until " + t.NextCheck.Local().Format(time.DateTime)
	}
	return text + "the next request asks the upstream, by a HEAD that spends no pull"
}

// writeVariants writes a table of the platforms.
func writeVariants(w io.Writer, all []admin.Variant) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "\nPLATFORM\tDIGEST\tMANIFEST\tBLOBS\tPRESENT\tMISSING\tA PULL NOW")
	for _, v := range all {
		platform, manifest, blobs, missing := v.Platform, "cached", fmt.Sprintf("%d of %d", v.BlobsCached, v.Blobs), units.BytesSize(float64(v.Missing))
		if v.Attestation {
			platform = "(attestation)"
		}
		if !v.Cached {
			manifest, blobs, missing = "missing", "-", "not known"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", orDash(platform), shortDigest(v.Digest), manifest, blobs,
			units.BytesSize(float64(v.Present)), missing, cost(v))
	}
	return table.Flush() // returns the first error
}

// cost says what a pull of v spends now.
func cost(v admin.Variant) string {
	switch {
	case !v.Cached:
		return "1 pull and all its bytes"
	case v.Missing > 0:
		return "no pull, " + units.BytesSize(float64(v.Missing))
	}
	return "nothing"
}

func orDash(s string) string {
	if strings.TrimSpace(s) == "" {
		return "-"
	}
	return s
}
