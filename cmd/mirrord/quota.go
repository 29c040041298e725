package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mirrord/internal/admin"
)

func newQuotaCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "quota",
		Short: "Show what is left of the upstreams' pull limits",
		Long: `Show the manifest GETs left, the limit and its window, for each upstream and
credential of the mirror.`,
		Args: refuse(cobra.NoArgs),
	}
	asJSON := c.Flags().Bool("json", false, "print JSON")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		budgets, raw, err := mirror.Budgets(c.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			_, err = c.OutOrStdout().Write(raw)
			return err
		}
		return writeBudgets(c.OutOrStdout(), budgets, time.Now())
	}
	return c
}

// writeBudgets writes a table for a person, at the time now.
func writeBudgets(w io.Writer, budgets []admin.Budget, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "UPSTREAM\tCREDENTIAL\tLEFT\tLIMIT\tWINDOW\tUPDATED\tSPENT\tSTATE")
	for _, b := range budgets {
		left, limit, window, observed := "-", "-", "-", "never"
		if b.Remaining != nil {
			left, limit = fmt.Sprint(*b.Remaining), fmt.Sprint(b.Limit)
		}
		if b.Window > 0 {
			window = time.Duration(b.Window * float64(time.Second)).String()
		}
		if b.Observed != nil {
			observed = now.Sub(*b.Observed).Round(time.Second).String() + " ago"
		}
		state := b.State()
		if b.Shared {
			state += "; shared with the fleet"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", b.Upstream, b.Credential, left, limit, window, observed, b.Spent, state)
	}
	return table.Flush() // returns the first error
}
