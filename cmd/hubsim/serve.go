package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mirrord/internal/hubsim"
)

func serveCommand() *cobra.Command {
	var o hubsim.Options
	var profile string
	var private map[string]string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve a few images until interrupted",
		Long: `Serve a few images until interrupted, like Docker Hub or like another registry:

  ` + profileNames() + `

While it runs, use curl to read its counters and to inject faults:

  curl URL/_sim/counters
  curl URL/_sim/faults -d '{"op":"cdn","bandwidth":100000}'
  curl URL/_sim/faults -d '{"op":"manifest","pulllimit":true,"times":3}'
  curl URL/_sim/faults -X DELETE

An op is one of token, ping, challenge, manifest, manifest-head, blob, cdn, tags,
referrers, forward and other; internal/hubsim/fault.go has all fields of a fault. It knows
no accounts but those of --user: other logins are refused.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var ok bool
			if o.Profile, ok = hubsim.ProfileNamed(profile); !ok {
				return fmt.Errorf("unknown profile %q; one of %s", profile, profileNames())
			}
			hub, err := hubsim.Start(o)
			if err != nil {
				return err
			}
			defer hub.Close()
			fmt.Fprintf(c.OutOrStdout(), "Simulator of %s at %s\n", profile, hub.URL())
			if err := seed(hub, c.OutOrStdout()); err != nil {
				return err
			}
			for repository, account := range private {
				hub.SetPrivate(repository, account)
			}
			<-c.Context().Done()
			return nil
		},
	}
	c.Flags().StringVar(&o.Addr, "listen", "127.0.0.1:5050", "address of the registry and its token service, as host:port")
	c.Flags().StringVar(&profile, "profile", "hub", "registry to behave like")
	c.Flags().StringToStringVar(&o.Users, "user", nil, "an account and its password, as ann=secret; repeatable")
	c.Flags().StringToStringVar(&private, "private", nil, "a repository and the only account that may pull from it, as library/demo=ann; repeatable")
	c.Flags().IntVar(&o.Limit, "limit", 100, "manifest GETs per client in 6 hours; 0 means no limit")
	c.Flags().DurationVar(&o.TokenTTL, "token-ttl", 0, "how long a token is valid (default 5m)")
	return c
}

func profileNames() string {
	var names []string
	for _, p := range hubsim.Profiles() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// seed adds the images and prints them.
func seed(hub *hubsim.Hub, out io.Writer) error {
	busybox, err := hubsim.MultiPlatform(1, hubsim.OCI)
	if err != nil {
		return err
	}
	demo, err := hubsim.Layers(20, 1<<20, 2, hubsim.Docker)
	if err != nil {
		return err
	}
	busyboxDigest, err := hub.AddIndex("library/busybox", "latest", busybox)
	if err != nil {
		return err
	}
	demoDigest, err := hub.AddImage("library/demo", "20layers", demo)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  library/busybox:latest        %s  linux/amd64 and linux/arm64\n", busyboxDigest)
	fmt.Fprintf(out, "  library/demo:20layers         %s  20 layers of 1 MiB\n", demoDigest)
	fmt.Fprintln(out, "  ratelimitpreview/test:latest  reports the quota in response to a HEAD")
	return nil
}
