package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// release is one version of mirrord, and where to find its parts.
type release struct {
	root, share, out string
	version          string // with a leading v
	commit           string
	ldflags          string
	maintainer       string
	time             time.Time // of everything that is packed
	platforms        []platform
	binaries         string // the directory of the binaries, by platform
}

// platform is an operating system and an architecture: linux/amd64.
type platform string

func (p platform) os() string   { name, _, _ := strings.Cut(string(p), "/"); return name }
func (p platform) arch() string { _, name, _ := strings.Cut(string(p), "/"); return name }

// String returns p as part of a file name.
func (p platform) String() string { return p.os() + "-" + p.arch() }

// binary returns the path of the binary for p.
func (r *release) binary(p platform) string { return filepath.Join(r.binaries, p.String(), "mirrord") }

// file returns the path of a file of the release, named after its version.
func (r *release) file(suffix string) string {
	return filepath.Join(r.out, "mirrord-"+r.version+suffix)
}

// buildAll builds the binaries for all platforms into a directory that clean removes.
func (r *release) buildAll() (clean func(), err error) {
	if r.binaries, err = os.MkdirTemp("", "mirrord-release-*"); err != nil {
		return nil, err
	}
	clean = func() { _ = os.RemoveAll(r.binaries) }
	for _, p := range r.platforms {
		if err := r.build(p); err != nil {
			clean()
			return nil, fmt.Errorf("build for %s: %w", p, err)
		}
	}
	return clean, nil
}

// build builds the static binary for p, without the paths and the VCS of this directory.
func (r *release) build(p platform) error {
	binary, err := filepath.Abs(r.binary(p))
	if err != nil {
		return err
	}
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", r.ldflags, "-o", binary, "./cmd/mirrord")
	c.Dir = r.root
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os(), "GOARCH="+p.arch())
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	return c.Run()
}

// create creates a file of the release and lets write fill it.
func create(path string, write func(*os.File) error) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
