package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"mirrord/internal/access"
	"mirrord/internal/config"
)

func newConfigCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check or print the configuration",
		Args:  refuse(cobra.NoArgs),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newConfigCheckCommand(), newConfigPrintCommand(), newConfigSampleCommand())
	return c
}

func newConfigCheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say whether a configuration file is valid, and if not, what to write instead",
		Long: `Say whether a configuration file is valid, and if not, what to write instead.
Each credential, certificate, key and list is read as the mirror would read it; nothing is sent to an
upstream. Without a file, check what mirrord serve would use here: the file of the service or that
of MIRRORD_CONFIG, and the environment.`,
		Args: refuse(cobra.MaximumNArgs(1)),
	}
	asJSON := c.Flags().Bool("json", false, "print JSON, also of a file that is not valid")
	named := c.Flags().String("config", "", "check `FILE`; the same as naming it without --config")
	c.RunE = func(c *cobra.Command, args []string) error {
		if c.Flags().Changed("config") && *named == "" {
			return refusal{errors.New("--config: is empty; name a file or leave the flag out")}
		}
		file, err := fileToCheck(args, *named)
		if err != nil {
			return err
		}
		name, notes, err := checkConfig(file)
		if *asJSON {
			return errors.Join(writeChecked(c.OutOrStdout(), name, notes, err), err)
		}
		if err == nil {
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: the configuration is valid\n%s", name, notes)
		}
		return err
	}
	return c
}

// fileToCheck returns the file that an argument or --config names, empty for none.
func fileToCheck(args []string, named string) (string, error) {
	switch {
	case len(args) == 0:
		return named, nil
	case named != "" && filepath.Clean(named) != filepath.Clean(args[0]):
		return "", refusal{fmt.Errorf("both %s and --config %s are named; check one file at a time", args[0], named)}
	}
	return args[0], nil
}

// checkConfig checks the configuration of a file, or without one what the daemon would
// load, and returns what to call it.
func checkConfig(file string) (name, notes string, err error) {
	cfg, name, err := loadChecked(file)
	if err == nil {
		notes, err = checkFiles(cfg)
	}
	return name, notes, err
}

// writeChecked writes what was found as JSON.
func writeChecked(out io.Writer, name, notes string, wrong error) error {
	result := struct {
		File  string   `json:"file"`
		Valid bool     `json:"valid"`
		Error string   `json:"error,omitempty"`
		Notes []string `json:"notes"`
	}{File: name, Valid: wrong == nil, Notes: []string{}}
	if wrong != nil {
		result.Error = wrong.Error()
	}
	for note := range strings.Lines(notes) {
		result.Notes = append(result.Notes, strings.TrimSuffix(note, "\n"))
	}
	return json.NewEncoder(out).Encode(result)
}

// loadChecked returns the configuration of a file, or without one what the daemon would
// load, and what to call it.
func loadChecked(file string) (cfg *config.Config, name string, err error) {
	if file != "" {
		cfg, err = config.LoadFile(file)
		return cfg, file, err
	}
	none := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(none)
	cfg, err = config.Load(none, os.Environ())
	return cfg, cmp.Or(config.File(os.Environ()), "mirrord"), err
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

func newConfigSampleCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sample",
		Short: "Print a configuration file with every setting commented out",
		Args:  refuse(cobra.NoArgs),
		RunE:  func(c *cobra.Command, _ []string) error { return config.WriteSample(c.OutOrStdout()) },
	}
}

// unitCredentials is where systemd puts what LoadCredential= names, for as long
// as the unit runs.
const unitCredentials = "/run/credentials/"

// checkFiles reads the configured credentials, certificates, users and tokens. What
// exists only while a unit runs is not a failure, but a note.
func checkFiles(cfg *config.Config) (notes string, err error) {
	var failed []error
	gate := access.NewGate(access.GateOptions{})
	for _, listener := range cfg.AllListeners() {
		_, _, certificatesErr := loadCertificates(cfg, listener, zap.NewNop())
		_, authErr := loadAuth(listener.Auth, gate)
		for _, err := range []error{certificatesErr, authErr} {
			if path := absent(err); strings.HasPrefix(path, unitCredentials) {
				notes += notChecked(path)
			} else if err != nil {
				failed = append(failed, fmt.Errorf("listener %s: %w", listener.Address, err))
			}
		}
	}
	if err := addRequirements(accessRules(cfg), cfg); err != nil {
		failed = append(failed, err)
	}
	_, webhooksErr := webhooksOf(cfg)
	failed = append(failed, checkLists(cfg), webhooksErr)
	if path := cfg.Admin.TokenFile; strings.HasPrefix(path, unitCredentials) {
		notes += notChecked(path)
	} else if path != "" {
		_, err := prepareToken(cfg, zap.NewNop())
		failed = append(failed, err)
	}
	for _, u := range cfg.Upstreams {
		if _, err := newTLS(u); err != nil {
			failed = append(failed, fmt.Errorf("upstream %s: %w", u.Name, err))
		}
		for _, c := range u.Credentials {
			err := readLogin(u.Name, c)
			switch {
			case err == nil:
			case strings.HasPrefix(c.PasswordFile+c.DockerConfig, unitCredentials):
				notes += notChecked(c.PasswordFile + c.DockerConfig)
			default:
				failed = append(failed, fmt.Errorf("upstream %s: credential %s: %w", u.Name, c.Name, err))
			}
		}
	}
	if err := errors.Join(failed...); err != nil {
		return "", refusal{err}
	}
	return notes, nil
}

// absent returns the file that does not exist, if that is what err says.
func absent(err error) string {
	var at *fs.PathError
	if !errors.As(err, &at) || !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return at.Path
}

func notChecked(path string) string {
	return fmt.Sprintf("not checked, because it exists only while the unit runs: %s\n", path)
}

func readLogin(upstream string, c config.Credential) error {
	l, err := newLogin(upstream, c)
	if err == nil {
		_, err = l.Authorization()
	}
	return err
}
