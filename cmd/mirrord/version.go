package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker: the version, the commit it is built from, and that commit's time.
var version, commit, date string

// buildInfo describes this binary. What is unknown is empty, but for Version.
type buildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"` // of the commit, as in RFC 3339
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisBuild returns what the linker stamped, or what the Go toolchain knows of the
// source.
func thisBuild() buildInfo {
	b := buildInfo{Version: version, Commit: commit, Date: date, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	vcs := make(map[string]string)
	for _, s := range info.Settings {
		vcs[s.Key] = s.Value
	}
	orElse(&b.Version, info.Main.Version, "unknown")
	orElse(&b.Commit, vcs["vcs.revision"])
	orElse(&b.Date, vcs["vcs.time"])
	return b
}

// orElse sets an empty s to the first of others that is not.
func orElse(s *string, others ...string) {
	for _, other := range others {
		if *s == "" {
			*s = other
		}
	}
}

func newVersionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, its commit, and what it was built with",
		Args:  refuse(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			b := thisBuild()
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(b)
			}
			_, err := fmt.Fprint(c.OutOrStdout(), b)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// String returns b for people, without what is unknown.
func (b buildInfo) String() string {
	text := fmt.Sprintf("mirrord %s\n", b.Version)
	if b.Commit != "" {
		text += fmt.Sprintf("commit:   %s\n", b.Commit)
	}
	if b.Date != "" {
		text += fmt.Sprintf("date:     %s\n", b.Date)
	}
	return text + fmt.Sprintf("go:       %s\nplatform: %s\n", b.Go, b.Platform)
}
