package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/verbs.md")

const verbsPage = "../../docs/verbs.md"

const verbsHead = "# Commands\n\n" +
	"Written by `make docs` from the commands themselves: `mirrord COMMAND --help` says the same.\n\n" +
	"Every command that asks a running mirror finds it as [Admin and metrics](configuration.md#admin-and-metrics) says, and takes\n" +
	"`--config`, `--admin-socket` and `--admin-listen`. The exit status is 0 when all went well, 1 when it failed, 2 when the\n" +
	"command line or the configuration must be changed, and 3 when damage was found: the message says what to do. Completions for\n" +
	"bash, zsh and fish, names of cached images included, are in the packages, or come from `mirrord completion SHELL`.\n"

// docs/verbs.md has every command with its flags.
func TestVerbs(t *testing.T) {
	var commands []*cobra.Command
	var collect func(*cobra.Command)
	collect = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			if sub.Runnable() {
				commands = append(commands, sub)
			}
			collect(sub)
		}
	}
	collect(newRootCommand())
	var page strings.Builder
	page.WriteString(verbsHead + "\n<!-- contents -->\n")
	for _, c := range commands {
		_, _ = fmt.Fprintf(&page, "- [%s](#%s)\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"))
	}
	page.WriteString("<!-- /contents -->\n")
	for _, c := range commands {
		writeVerb(&page, c)
	}
	if *update {
		check(t, os.WriteFile(verbsPage, []byte(page.String()), 0o644))
	}
	got, err := os.ReadFile(verbsPage)
	check(t, err)
	if diff := cmp.Diff(page.String(), string(got)); diff != "" {
		t.Errorf("docs/verbs.md is not up to date; run make docs (-commands +page):\n%s", diff)
	}
}

// writeVerb writes the section of one command.
func writeVerb(page *strings.Builder, c *cobra.Command) {
	_, _ = fmt.Fprintf(page, "\n## %s\n\n%s.\n\n    %s\n", c.CommandPath(), c.Short, c.UseLine())
	if c.Long != "" {
		_, _ = fmt.Fprintf(page, "\n%s\n", c.Long)
	}
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags = true
	var settings []string
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if strings.Contains(f.Usage, "environment MIRRORD_") {
			settings = append(settings, "`--"+f.Name+"`")
		} else if f.Name != "help" {
			own.AddFlag(f)
		}
	})
	if own.HasFlags() {
		_, _ = fmt.Fprintf(page, "\n```\n%s```\n", own.FlagUsages())
	}
	if len(settings) > 10 {
		settings = []string{"all of them"}
	}
	if len(settings) > 0 {
		_, _ = fmt.Fprintf(page, "\nSettings as flags, see [configuration.md](configuration.md): %s.\n", strings.Join(settings, ", "))
	}
	if c.HasExample() {
		_, _ = fmt.Fprintf(page, "\n```\n%s\n```\n", strings.TrimRight(c.Example, "\n"))
	}
}
