package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
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
		raw, err := askAdmin(c.Context(), cfg.Admin.Listen, "/quota")
		if err != nil {
			return err
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

const (
	adminTime  = 10 * time.Second
	adminBytes = 16 << 20
)

// askAdmin asks a running mirror.
func askAdmin(ctx context.Context, listen, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(listen)+path, nil)
	if err != nil {
		return nil, err
	}
	direct := http.Client{Transport: new(http.Transport)} // a proxy has no business between the two
	resp, err := direct.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no mirror answers at %s: %w; does it run, and is this its admin.listen?", listen, err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, adminBytes))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answers %s", resp.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the mirror at %s: %w", listen, err)
	}
	return raw, nil
}

// reachable is the address to dial for one that is listened on: everywhere
// includes here.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if address, err := netip.ParseAddr(host); host == "" || err == nil && address.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
