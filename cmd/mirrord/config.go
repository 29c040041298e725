package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"mirrord/internal/config"
)

func newConfigCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check or print the configuration",
		Args:  refuse(cobra.NoArgs),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newConfigCheckCommand(), newConfigPrintCommand())
	return c
}

func newConfigCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say whether a configuration file is right, and if not, what would be",
		Args:  refuse(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := config.LoadFile(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s: the configuration is right\n", args[0])
			return err
		},
	}
}

func newConfigPrintCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "print",
		Short: "Print the configuration in effect: defaults, file, environment and flags together",
		Args:  refuse(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(c.Flags(), os.Environ())
			if err != nil {
				return err
			}
			return cfg.WriteYAML(c.OutOrStdout())
		},
	}
	config.AddFlags(c.Flags())
	return c
}
