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

func newListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "ls [PATTERN]",
		Aliases: []string{"images"},
		Short:   "List the images that the mirror knows, the one last used first",
		Long: `List the tags that the mirror knows and what of their images is cached: the platforms whose
manifests are, the bytes, and how many of them are part of other images, too. REQUESTS and HITS count
since the mirror's start. PINNED ones are not evicted; see mirrord pin. Content that was only ever
pulled by digest has no tag, and is not listed.

PATTERN is written like a name, with * and ** as in shells: alpine, 'nginx:1.*', 'grafana/*',
'quay.io/**'. What has no registry is of Docker Hub.`,
		Example:           "mirrord ls 'quay.io/**'\nmirrord ls --json | jq -r '.[] | select(.hits == 0) | .name'",
		Args:              refuse(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeImages,
	}
	asJSON := c.Flags().Bool("json", false, "print JSON, with whole digests and sizes in bytes")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		images, raw, err := mirror.Images(c.Context(), strings.Join(args, ""))
		if err != nil {
			return err
		}
		if *asJSON {
			_, err = c.OutOrStdout().Write(raw)
			return err
		}
		if len(images) == 0 {
			_, err = fmt.Fprintln(c.ErrOrStderr(), noImages(args))
			return err
		}
		return writeImages(c.OutOrStdout(), images, time.Now())
	}
	return c
}

// noImages says why nothing is listed.
func noImages(args []string) string {
	if len(args) == 0 {
		return "the mirror knows no image yet; pull one through it, or run mirrord warm IMAGE"
	}
	return "no image matches; mirrord ls without a pattern lists all"
}

// completeImages completes the names of images that the mirror knows. Without a mirror
// there are none.
func completeImages(c *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	mirror, err := findMirror(c)
	if err != nil {
		return nil, directive
	}
	names, err := mirror.ImageNames(c.Context(), "")
	if err != nil {
		return nil, directive
	}
	var all []cobra.Completion
	for _, name := range names {
		for _, short := range []string{name, shortName(name)} {
			if strings.HasPrefix(short, begun) {
				all = append(all, short)
				break
			}
		}
	}
	return all, directive
}

// shortName returns a name as people write it: without Docker Hub.
func shortName(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
}

// shortDigest returns as much of a digest as people compare.
func shortDigest(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex[:min(len(hex), 12)]
}

// ago says how long before now t was.
func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return "never"
	}
	return strings.ToLower(units.HumanDuration(now.Sub(*t))) + " ago"
}

// writeImages writes a table for a person, at the time now.
func writeImages(w io.Writer, all []admin.Image, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "IMAGE\tDIGEST\tPLATFORMS\tSIZE\tSHARED\tUSED\tREQUESTS\tHITS\tPINNED")
	for _, i := range all {
		platforms := strings.Join(i.Platforms, ",")
		if platforms == "" {
			platforms = "-"
		}
		pinned := "-"
		if i.Pinned {
			pinned = "yes"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", shortName(i.Name), shortDigest(i.Digest), platforms,
			units.BytesSize(float64(i.Size)), units.BytesSize(float64(i.Shared)), ago(i.LastUsed, now), i.Requests, i.Hits, pinned)
	}
	return table.Flush() // returns the first error
}
