package main

import (
	"encoding/json"
	"strings"

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
	}
	asJSON := c.Flags().Bool("json", false, "print JSON")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		state, err := mirror.Ready(c.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(readinessOf(string(state)))
		}
		_, err = c.OutOrStdout().Write(state)
		return err
	}
	return c
}

// readiness is that of a mirror that serves, as JSON.
type readiness struct {
	Ready    bool              `json:"ready"`
	Degraded map[string]string `json:"degraded"` // by what it works without: why
}

// readinessOf reads the lines of text in which a mirror says that it is ready.
func readinessOf(state string) readiness {
	r := readiness{Ready: true, Degraded: make(map[string]string)}
	_, lines, _ := strings.Cut(state, "\n")
	for line := range strings.Lines(lines) {
		part, why, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		r.Degraded[part] = why
	}
	return r
}
