// Command release packs what a release of mirrord consists of: packages, images, archives,
// SBOMs and checksums. Its output depends on nothing but the commit: the same bytes come
// out of any directory. It is a module of its own, so that mirrord's does not need the
// libraries. The Makefile runs it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var r release
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&r.root, "root", ".", "the `directory` of mirrord's module")
	flags.StringVar(&r.share, "share", "bin/share", "the `directory` of what make build makes beside the binary")
	flags.StringVar(&r.out, "out", "dist", "the `directory` to write to")
	flags.StringVar(&r.version, "version", "", "the version, as in semver with a leading v")
	flags.StringVar(&r.commit, "commit", "", "the commit that is packed")
	flags.StringVar(&r.ldflags, "ldflags", "", "the `flags` of the linker")
	flags.StringVar(&r.maintainer, "maintainer", "", "who maintains the packages, as `NAME <ADDRESS>`")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64", "the platforms")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !semver.IsValid(r.version) || semver.Canonical(r.version)+semver.Build(r.version) != r.version {
		return fmt.Errorf("%q is not a version; set VERSION to one such as v0.1.0", r.version)
	}
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	r.time = time.Unix(epoch, 0).UTC()
	for name := range strings.SplitSeq(*platforms, ",") {
		r.platforms = append(r.platforms, platform(name))
	}
	return r.make(flags.Args())
}

// make builds the binaries, and packs them in each of the forms.
func (r *release) make(forms []string) error {
	known := map[string]func() error{
		"packages": r.packages,
		"image":    r.image,
		"archives": r.archives,
		"sbom":     r.sboms,
		"sums":     r.sums,
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	clean, err := r.buildAll()
	if err != nil {
		return err
	}
	defer clean()
	for _, form := range forms {
		pack, ok := known[form]
		if !ok {
			return errors.New("unknown form " + form)
		}
		if err := pack(); err != nil {
			return fmt.Errorf("%s: %w", form, err)
		}
	}
	return nil
}
