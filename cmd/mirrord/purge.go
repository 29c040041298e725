package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"mirrord/internal/admin"
)

func newPurgeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "purge PATTERN... [--dry-run]",
		Short: "Remove the images that match from the cache",
		Long: `Forget the tags that match, and remove their manifests, configs and layers from the cache: not those that
another image in the cache needs, too, nor those that a client is reading. The next pull fetches the image
from its upstream again, and spends pulls. Pinned images are refused: unpin them first. PATTERN is as for
mirrord ls; one with a digest also removes a manifest that has no tag.`,
		Example:           "mirrord purge --dry-run 'nginx:1.*'\nmirrord purge ghcr.io/org/app:v1",
		Args:              refuse(cobra.MinimumNArgs(1)),
		ValidArgsFunction: completeImages,
	}
	asJSON := c.Flags().Bool("json", false, "print JSON, with sizes in bytes")
	dryRun := c.Flags().Bool("dry-run", false, "only say what would be removed")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		purged, raw, err := mirror.Purge(c.Context(), args, *dryRun)
		if err != nil {
			return err
		}
		if *asJSON {
			_, err = c.OutOrStdout().Write(raw)
			return err
		}
		return writePurged(c, purged, *dryRun)
	}
	return c
}

func writePurged(c *cobra.Command, p admin.Purged, dryRun bool) error {
	for _, name := range p.Tags {
		if _, err := fmt.Fprintln(c.OutOrStdout(), shortName(name)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), amountOf(p, dryRun))
	return err
}

// amountOf says how much was removed, or would be.
func amountOf(p admin.Purged, dryRun bool) string {
	verb := "removed"
	if dryRun {
		verb = "would remove"
	}
	text := fmt.Sprintf("%s %s and %s, %s", verb, plural(len(p.Tags), "tag"), plural(p.Blobs, "blob"), units.BytesSize(float64(p.Bytes)))
	if p.InUse > 0 {
		text += fmt.Sprintf("; left, because in use: %s, which mirrord gc --older-than 0s removes later", plural(p.InUse, "blob"))
	}
	return text
}

const defaultUnused = 30 * 24 * time.Hour

func newCollectCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "gc [--older-than DURATION] [--dry-run]",
		Short: "Clean up the cache now: what no image needs, and what crashes left",
		Long: `Remove what neither a tag that the mirror knows nor a pin needs, and that was not used for --older-than:
the images that tags have moved away from, and content that was pulled by digest long ago. Before that
do what the mirror does in the background: reconcile the directory with the index, remove unfinished
downloads that are older than an hour, and evict what is over the limits. Nothing of this is needed
for the mirror to work: eviction makes space by itself. Files that are not of the cache stay;
mirrord verify --repair removes them.`,
		Args:              refuse(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	asJSON := c.Flags().Bool("json", false, "print JSON, with sizes in bytes")
	dryRun := c.Flags().Bool("dry-run", false, "only say what no image needs; the rest is left alone")
	unused := c.Flags().Duration("older-than", defaultUnused, "how long content that no image needs was not used; 0s for any")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *unused < 0 {
			return refusal{fmt.Errorf("--older-than %s is negative; write for example 720h", *unused)}
		}
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		ctx, stop := untilInterrupted(c.Context())
		defer stop()
		done, raw, err := mirror.Collect(ctx, *unused, *dryRun)
		if ctx.Err() != nil {
			err = errors.New("interrupted; the same command goes on with the rest")
		}
		var written error
		switch {
		case raw == nil: // nothing was done
		case *asJSON:
			_, written = c.OutOrStdout().Write(raw)
		default:
			written = writeCollected(c, done, *dryRun)
		}
		return errors.Join(err, written)
	}
	return c
}

func writeCollected(c *cobra.Command, done admin.Collected, dryRun bool) error {
	out := c.OutOrStdout()
	if !dryRun {
		_, _ = fmt.Fprintf(out, "the index: %s adopted that it did not know, %s removed whose file is lost, %s\n",
			plural(done.Adopted, "file"), plural(done.Lost, "record"), plural(done.Strays, "stray"))
		_, _ = fmt.Fprintf(out, "unfinished downloads: removed %d, %s\n", done.Parts, units.BytesSize(float64(done.PartBytes)))
		_, _ = fmt.Fprintf(out, "over the limits: evicted %s, %s\n", plural(int(done.Evicted), "blob"), units.BytesSize(float64(done.EvictedBytes)))
	}
	_, err := fmt.Fprintln(out, "needed by no image: "+amountOf(done.Purged, dryRun))
	return err
}
