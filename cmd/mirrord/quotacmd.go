package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"mirrord/internal/config"
)

func newQuotaCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "quota",
		Short: "Show what is left of the pulls that the upstreams allow",
		Long: `Show, for each upstream and credential of the running mirror, how many manifest
GETs are left of how many in which time. It asks the mirror at admin.listen.`,
		Args: refuse(cobra.NoArgs),
	}
	asJSON := c.Flags().Bool("json", false, "print JSON")
	config.AddFlags(c.Flags(), "admin.listen")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config.Load(c.Flags(), os.Environ())
		if err != nil {
			return err
		}
		resp, err := askAdmin(c.Context(), http.MethodGet, cfg.Admin.Listen, "/quota")
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		raw, err := io.ReadAll(io.LimitReader(resp.Body, adminBytes))
		if err != nil {
			return fmt.Errorf("ask the mirror at %s: %w", cfg.Admin.Listen, err)
		}
		if *asJSON {
			_, err = c.OutOrStdout().Write(raw)
			return err
		}
		var budgets []budget
		if err := json.Unmarshal(raw, &budgets); err != nil {
			return fmt.Errorf("the mirror at %s tells no budgets: %w", cfg.Admin.Listen, err)
		}
		return writeBudgets(c.OutOrStdout(), budgets, time.Now())
	}
	return c
}
