//go:build man

package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommands returns the command that writes the manual pages. The daemon is built
// without it, and so without the libraries that it needs.
func manCommands() []*cobra.Command {
	return []*cobra.Command{{
		Use:    "man DIR",
		Short:  "Write the manual pages of all commands to a directory",
		Hidden: true,
		Args:   refuse(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			c.Root().DisableAutoGenTag = true
			return doc.GenManTree(c.Root(), &doc.GenManHeader{Source: "mirrord " + thisBuild().Version, Manual: "mirrord"}, args[0])
		},
	}}
}
