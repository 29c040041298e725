// Command mirrord is a pull-through mirror for container registries.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"mirrord/internal/admin"
	"mirrord/internal/config"
)

func main() {
	os.Exit(run())
}

// Exit statuses.
const (
	exitFailed  = 1 // it ran, and then failed
	exitRefused = 2 // it cannot run as configured: the message says what to change
	exitDamaged = 3 // it has found something wrong in the cache
)

func run() int {
	err := newRootCommand().Execute()
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "mirrord: %s\n", printableLines(err.Error()))
	switch {
	case isRefusal(err):
		return exitRefused
	case errors.As(err, new(damage)):
		return exitDamaged
	}
	return exitFailed
}

// refusal is an error that a person fixes by changing the configuration or the
// command line.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func isRefusal(err error) bool {
	var refused *admin.Refusal
	badRequest := errors.As(err, &refused) && refused.Status == http.StatusBadRequest
	return badRequest || errors.As(err, new(refusal)) || errors.As(err, new(*config.Error))
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "mirrord",
		Short:         "A pull-through mirror for container registries",
		Version:       thisBuild().Version,
		Args:          refuse(cobra.NoArgs),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return refusal{fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
	})
	root.AddCommand(newServeCommand(), newConfigCommand(), newQuotaCommand(), newReadyCommand(), newVerifyCommand(),
		newStatusCommand(), newTopCommand(), newDoctorCommand(), newListCommand(), newExplainCommand(),
		newPinCommand(), newUnpinCommand(), newPurgeCommand(), newRefreshCommand(), newCollectCommand(),
		newClientConfigCommand(), newExportCommand(), newImportCommand(), newImportArchiveCommand(), newWarmCommand(), newNotifyCommand(), newFleetCommand(), newVersionCommand())
	root.AddCommand(manCommands()...)
	return root
}

// refuse makes wrong arguments an error of the command line.
func refuse(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return refusal{fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
		}
		return nil
	}
}
