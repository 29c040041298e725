package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"mirrord/internal/admin"
)

func newPinCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "pin [PATTERN...]",
		Short: "Never evict the images that match, or list those that are pinned",
		Long: `Never evict the images that match: their manifests, and what these need and is cached, or once it is.
A pin is of a tag and follows it: when the tag moves, what it names then is pinned within ten seconds, and
what it named before no longer. PATTERN is as for mirrord ls; tags that come later do not match. The name
of one image, with a tag or a digest, can be pinned before it is cached. Pins survive restarts.

All pins together may take cache.max_pinned; what is more is refused. A tag that moves to an image that no
longer fits is not pinned until there is space: this list says so, and the mirror's log. Without
PATTERN the pins are listed. SIZE is what a pin needs, that which is not cached yet and shared with others too.`,
		Example:           "mirrord pin alpine:3 'quay.io/prometheus/*'\nmirrord pin",
		ValidArgsFunction: completeImages,
	}
	asJSON := c.Flags().Bool("json", false, "print JSON, with whole digests and sizes in bytes")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			pins, raw, err := mirror.Pins(c.Context())
			return showPins(c, pins, raw, err, *asJSON)
		}
		pins, raw, err := mirror.Pin(c.Context(), args)
		return showPins(c, pins, raw, err, *asJSON)
	}
	return c
}

func newUnpinCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "unpin PATTERN...",
		Short: "Let the images that match be evicted again",
		Long: `Let the images that match and are pinned be evicted again, when there is no space for others. What was
unpinned is listed.`,
		Example:           "mirrord unpin alpine:3",
		Args:              refuse(cobra.MinimumNArgs(1)),
		ValidArgsFunction: completeImages,
	}
	asJSON := c.Flags().Bool("json", false, "print JSON, with whole digests and sizes in bytes")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		pins, raw, err := mirror.Unpin(c.Context(), args)
		if err != nil || *asJSON {
			return showPins(c, pins, raw, err, *asJSON)
		}
		for _, p := range pins {
			if _, err := fmt.Fprintf(c.OutOrStdout(), "%s: unpinned\n", shortName(p.Name)); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func showPins(c *cobra.Command, pins []admin.Pin, raw []byte, err error, asJSON bool) error {
	switch {
	case err != nil:
		return err
	case asJSON:
		_, err = c.OutOrStdout().Write(raw)
		return err
	case len(pins) == 0:
		_, err = fmt.Fprintln(c.ErrOrStderr(), "nothing is pinned; mirrord pin alpine:3 pins an image")
		return err
	}
	return writePins(c.OutOrStdout(), pins, time.Now())
}

// writePins writes a table for a person, at the time now.
func writePins(w io.Writer, pins []admin.Pin, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "IMAGE\tDIGEST\tSIZE\tPINNED\tSTATE")
	for _, p := range pins {
		state := "pinned"
		switch {
		case p.Short > 0:
			state = fmt.Sprintf("not pinned: %s more than cache.max_pinned allows", units.BytesSize(float64(p.Short)))
		case !p.Cached:
			state = "not cached yet"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", shortName(p.Name), orDash(shortDigest(p.Digest)), units.BytesSize(float64(p.Bytes)), ago(&p.Since, now), state)
	}
	return table.Flush() // returns the first error
}
