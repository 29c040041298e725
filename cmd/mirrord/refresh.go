package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mirrord/internal/admin"
)

func newRefreshCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "refresh TAG...",
		Short: "Ask the upstream now what tags name",
		Long: `Ask the upstream now what tags that the mirror knows name, however fresh they are: a HEAD, which spends no
pull. Only if a tag has moved is the new manifest fetched, which spends one, unless the pull is reserved
(quota.reserve); layers are fetched when clients ask for them. Exits with status 1 if a tag could not be asked for.`,
		Example:           "mirrord refresh alpine:3",
		Args:              refuse(cobra.MinimumNArgs(1)),
		ValidArgsFunction: completeImages,
	}
	asJSON := c.Flags().Bool("json", false, "print the lines of JSON that the mirror sends")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		ctx, stop := untilInterrupted(c.Context())
		defer stop()
		asked, failed := 0, 0
		err = mirror.Refresh(ctx, args, func(raw []byte, line admin.RefreshLine) {
			if line.Refreshed != nil {
				asked++
			}
			if line.Refreshed != nil && line.Failed != "" {
				failed++
			}
			switch {
			case *asJSON:
				_, _ = fmt.Fprintf(c.OutOrStdout(), "%s\n", raw)
			case line.Refreshed != nil:
				_, _ = fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", printable(shortName(line.Name)), printable(outcomeOf(*line.Refreshed)))
			}
		})
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: asked for %d of %s, %d failed; the same command asks for all again", asked, plural(len(args), "tag"), failed)
		}
		if err == nil && failed > 0 {
			err = errors.New("not all tags were refreshed")
		}
		return err
	}
	return c
}

// outcomeOf says what the upstream has said of a tag.
func outcomeOf(r admin.Refreshed) string {
	switch {
	case r.Failed != "":
		return r.Failed
	case !r.Moved:
		return "same, " + r.To
	}
	text := fmt.Sprintf("moved from %s to %s", r.From, r.To)
	switch {
	case r.Pulled:
		return text + ", which was fetched"
	case r.Unpulled != "":
		return text + ", which was not fetched: " + r.Unpulled
	}
	return text + ", which was cached already"
}
