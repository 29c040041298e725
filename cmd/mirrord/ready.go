package main

import (
	"github.com/spf13/cobra"
)

func newReadyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ready",
		Short: "Say whether the mirror is ready to serve clients",
		Long: `Say whether the mirror is ready to serve clients, and what it works
without, if anything. The exit status is 0 if it is ready, also without its disk or its index, and
1 if it drains or does not respond: a health check for containers, in which there is no curl.`,
		Args: refuse(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			mirror, err := findMirror(c)
			if err != nil {
				return err
			}
			state, err := mirror.Ready(c.Context())
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(state)
			return err
		},
	}
	addMirrorFlags(c)
	return c
}
