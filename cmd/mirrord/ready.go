package main

import (
	"os"

	"github.com/spf13/cobra"

	"mirrord/internal/admin"
	"mirrord/internal/config"
)

func newReadyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ready",
		Short: "Say whether the mirror is ready to serve clients",
		Long: `Say whether the mirror that runs at admin.listen is ready to serve clients, and what it works
without, if anything. The exit status is 0 if it is ready, also without its disk or its index, and
1 if it drains or does not respond: a health check for containers, in which there is no curl.`,
		Args: refuse(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(c.Flags(), os.Environ())
			if err != nil {
				return err
			}
			state, err := admin.NewClient(cfg.Admin.Listen, cfg.Admin.TokenFile).Ready(c.Context())
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(state)
			return err
		},
	}
	config.AddFlags(c.Flags(), adminListenKey)
	return c
}
