package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mirrord/internal/clientconfig"
	"mirrord/internal/config"
)

// inPlace is --install without a directory.
const inPlace = "in place"

func newClientConfigCommand() *cobra.Command {
	c := &cobra.Command{
		Use:       "client-config CLIENT",
		Short:     "Print or install the configuration of a client of this mirror",
		ValidArgs: clientconfig.Clients(),
		Args:      refuse(cobra.ExactArgs(1)),
		Long: `Print what a client needs to pull through this mirror, or write it with --install. CLIENT is one of
` + strings.Join(clientconfig.Clients(), ", ") + `.

A file that this command has not written is left as it is, with an error. A file that has other
settings too, such as Docker's daemon.json, gets the mirror first in its list and stays the same
otherwise; what it was before is in a file with .bak at its end. Nothing is restarted: what to do
next is printed.`,
	}
	host := c.Flags().String("host", "", "address of the mirror for the client, as http://HOST:PORT (default that of listen)")
	install := c.Flags().String("install", "", "write the files; --install=DIR writes them below that directory")
	c.Flags().Lookup("install").NoOptDefVal = inPlace
	asJSON := c.Flags().Bool("json", false, "print JSON")
	config.AddFlags(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := config.Load(c.Flags(), os.Environ())
		if err != nil {
			return err
		}
		mirror, err := mirrorURL(cfg, *host)
		if err != nil {
			return refusal{err}
		}
		client, err := clientconfig.For(args[0], clientconfig.Mirror{URL: mirror, Upstreams: names(cfg), OwnCA: needsCA(cfg, mirror)})
		if err != nil {
			return refusal{err}
		}
		if *install != "" {
			return installClient(c.OutOrStdout(), client, *install, *asJSON)
		}
		if *asJSON {
			return writeIndented(c.OutOrStdout(), client)
		}
		return printClient(c.OutOrStdout(), client)
	}
	return c
}

// names are those of the upstreams.
func names(cfg *config.Config) []string {
	var all []string
	for _, u := range cfg.Upstreams {
		all = append(all, u.Name)
	}
	return all
}

// needsCA reports whether a client may have to be told of the CA of the mirror at that URL.
func needsCA(cfg *config.Config, mirror string) bool {
	return strings.HasPrefix(mirror, "https:") && slices.ContainsFunc(cfg.AllListeners(), ownCA)
}

func writeIndented(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// printClient prints the files, each after its path, so that a file of its own can be
// pasted as it is.
func printClient(w io.Writer, c clientconfig.Config) error {
	var b strings.Builder
	for _, f := range c.Files {
		where := filepath.Join(c.Dir, f.Path)
		if f.Shared || f.Excerpt {
			where += ", added to what is there"
		}
		_, _ = fmt.Fprintf(&b, "# %s\n%s\n", where, f.Text)
	}
	_, _ = b.WriteString(nextSteps(c))
	_, err := io.WriteString(w, b.String())
	return err
}

// nextSteps is what to do once the files are there, as comments.
func nextSteps(c clientconfig.Config) string {
	var b strings.Builder
	if c.CA != "" {
		_, _ = fmt.Fprintf(&b, "# the certificate of the mirror's CA, unless that is a public one: install -D -m 644 ca.crt %s\n", c.CA)
	}
	if c.Apply != "" {
		_, _ = fmt.Fprintf(&b, "# then: %s\n", c.Apply)
	}
	for _, note := range c.Notes {
		_, _ = fmt.Fprintf(&b, "# %s\n", note)
	}
	return b.String()
}

func installClient(w io.Writer, c clientconfig.Config, dir string, asJSON bool) error {
	if dir == inPlace {
		var err error
		if dir, err = homeDir(c.Dir); err != nil {
			return err
		}
	}
	results, err := c.Install(dir)
	switch {
	case errors.Is(err, clientconfig.ErrForeign):
		return refusal{err}
	case err != nil:
		return err
	case asJSON:
		return writeIndented(w, results)
	}
	written := false
	for i, r := range results {
		switch {
		case r.Excerpt:
			_, err = fmt.Fprintf(w, "add this to %s yourself:\n%s", r.Path, c.Files[i].Text)
		case !r.Written:
			_, err = fmt.Fprintln(w, "unchanged", r.Path)
		case r.Backup != "":
			_, err = fmt.Fprintln(w, "wrote", r.Path+", previously", r.Backup)
		default:
			_, err = fmt.Fprintln(w, "wrote", r.Path)
		}
		written = written || r.Written
		if err != nil {
			return err
		}
	}
	if written && c.Apply != "" {
		_, err = fmt.Fprintln(w, "then:", c.Apply)
	}
	return err
}

// homeDir returns dir with the home directory of the user in the place of a tilde.
func homeDir(dir string) (string, error) {
	rest, ok := strings.CutPrefix(dir, "~")
	if !ok {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	return home + rest, err
}

// plainHost is a host with or without a port that needs no quoting in the files and
// commands of any client.
var plainHost = regexp.MustCompile(`^[a-zA-Z0-9.:_\[\]-]+$`)

// mirrorURL is the address of the mirror for clients: host, or the first listener for all
// upstreams, on this host if it listens everywhere.
func mirrorURL(cfg *config.Config, host string) (string, error) {
	if host != "" {
		u, err := url.Parse(host)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !plainHost.MatchString(u.Host) || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return "", fmt.Errorf("--host %q is not an address of a mirror; write http://HOST:PORT or https://HOST:PORT", host)
		}
		return host, nil
	}
	for _, l := range cfg.AllListeners() {
		if l.Upstream == "" {
			return listenerURL(l), nil
		}
	}
	return "", errors.New("no listener serves all upstreams; name the mirror's address with --host http://HOST:PORT")
}

func listenerURL(l config.Listener) string {
	host, port, _ := net.SplitHostPort(l.Address) // it is valid
	if address, err := netip.ParseAddr(host); host == "" || err == nil && address.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme(l) + "://" + net.JoinHostPort(host, port)
}
