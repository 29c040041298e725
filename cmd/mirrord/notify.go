package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mirrord/internal/admin"
)

func newNotifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "notify",
		Short: "Test the webhooks that are sent events",
		Args:  refuse(cobra.NoArgs),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newNotifyTestCommand())
	return c
}

func newNotifyTestCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "test [NAME]",
		Short: "Send one event to each webhook, or to the one of that name",
		Long: `Have the mirror send one event of the type mirrord.test to each of its webhooks, or to the one of that name,
with the signature, headers and certificates that other events are sent with. It is sent once, whatever the
webhook's events are, and says what to do if it is not accepted. Exits with status 1 if one was not.`,
		Example:           "mirrord notify test\nmirrord notify test ops",
		Args:              refuse(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeWebhooks,
	}
	asJSON := c.Flags().Bool("json", false, "print the lines of JSON that the mirror sends")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		name := ""
		if len(args) > 0 {
			name = args[0]
		}
		ctx, stop := untilInterrupted(c.Context())
		defer stop()
		done, failed := 0, 0
		err = mirror.TestWebhooks(ctx, name, func(raw []byte, line admin.WebhookLine) {
			if line.WebhookTest != nil {
				done++
			}
			if line.WebhookTest != nil && !line.Delivered {
				failed++
			}
			switch {
			case *asJSON:
				_, _ = fmt.Fprintf(c.OutOrStdout(), "%s\n", raw)
			case line.WebhookTest != nil:
				_, _ = fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", printable(line.Name), printable(receptionOf(*line.WebhookTest)))
			}
		})
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted after %s, %d failed", plural(done, "webhook"), failed)
		}
		if err == nil && failed > 0 {
			err = errors.New("not all webhooks have accepted the event")
		}
		return err
	}
	return c
}

// receptionOf says what became of an event.
func receptionOf(t admin.WebhookTest) string {
	if t.Delivered {
		return "delivered"
	}
	return "not delivered: " + t.Failed + "; " + t.Advice
}

// completeWebhooks completes the names of the mirror's webhooks. Without a mirror there are
// none.
func completeWebhooks(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 {
		return nil, directive
	}
	mirror, err := findMirror(c)
	if err != nil {
		return nil, directive
	}
	webhooks, err := mirror.Webhooks(c.Context())
	if err != nil {
		return nil, directive
	}
	var names []cobra.Completion
	for _, w := range webhooks {
		names = append(names, w.Name)
	}
	return names, directive
}
