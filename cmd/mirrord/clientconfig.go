package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"mirrord/internal/config"
)

func newClientConfigCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "client-config",
		Short: "Print or install the configuration of a client of this mirror",
		Args:  refuse(cobra.NoArgs),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newContainerdConfigCommand())
	return c
}

func newContainerdConfigCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "containerd",
		Short: "Print or install the hosts.toml of each upstream for containerd",
		Long: `Print the hosts.toml of each upstream for containerd, or write them with --install below the
directory that its config_path names. containerd reads them at each pull, and asks the registry
itself when the mirror does not respond. A file that this command has not written is left as it
is, with an error.`,
		Args: refuse(cobra.NoArgs),
	}
	host := c.Flags().String("host", "", "address of the mirror for containerd, as http://HOST:PORT (default that of listen)")
	install := c.Flags().String("install", "", "directory to write to, such as "+containerdDir+"; empty prints")
	config.AddFlags(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config.Load(c.Flags(), os.Environ())
		if err != nil {
			return err
		}
		mirror, err := mirrorURL(cfg, *host)
		if err != nil {
			return refusal{err}
		}
		for _, f := range containerdFiles(mirror, cfg.Upstreams) {
			if *install == "" {
				_, err = fmt.Fprintf(c.OutOrStdout(), "# %s\n%s\n", filepath.Join(containerdDir, f.path), f.text)
			} else if err = f.install(*install); err == nil {
				_, err = fmt.Fprintln(c.OutOrStdout(), "wrote", filepath.Join(*install, f.path))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

const (
	containerdDir = "/etc/containerd/certs.d" // where most set config_path to
	ownMark       = "# Written by mirrord client-config containerd.\n"
)

// clientFile is a file of a client's configuration.
type clientFile struct {
	path string // below its directory
	text string
}

// containerdFiles returns the hosts.toml of each upstream. It has no server, which is the
// registry itself then.
func containerdFiles(mirror string, upstreams []config.Upstream) []clientFile {
	var files []clientFile
	for _, u := range upstreams {
		files = append(files, clientFile{
			path: filepath.Join(u.Name, "hosts.toml"),
			text: fmt.Sprintf("[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", mirror+"/"+u.Name),
		})
	}
	return files
}

// install writes f below dir, in one step for those who read it, unless there is one of
// somebody else.
func (f clientFile) install(dir string) error {
	path := filepath.Join(dir, f.path)
	old, err := os.ReadFile(path)
	if err == nil && !bytes.HasPrefix(old, []byte(ownMark)) {
		return refusal{fmt.Errorf("%s is not from this command; remove it, or add to it by hand:\n%s", path, f.text)}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	fresh := path + ".new"
	if err := os.WriteFile(fresh, []byte(ownMark+f.text), 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// mirrorURL is the address of the mirror for clients: host, or the first listener for all
// upstreams, on this host if it listens everywhere.
func mirrorURL(cfg *config.Config, host string) (string, error) {
	if host != "" {
		u, err := url.Parse(host)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
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
