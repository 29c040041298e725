//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

const (
	oldVersion = "v0.1.0"
	newVersion = "v0.2.0"
)

// dists has what make builds of this commit, in the directories old, of an older version
// and for this machine only, and twice of the same one, each time from another directory.
type dists struct{ old, first, second string }

// built returns the dists, which are built once. The first checkout is first/...
func built(t *testing.T) dists {
	t.Helper()
	d, err := builtOnce()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var builtOnce = sync.OnceValues(func() (dists, error) {
	top := filepath.Join(filepath.Dir(program), "release")
	first, second := filepath.Join(top, "first"), filepath.Join(top, "another", "second")
	for _, dir := range []string{first, second} {
		if err := command("../..", "git", "clone", "--quiet", ".", dir); err != nil {
			return dists{}, err
		}
	}
	if err := makeIn(first, "packages", "VERSION="+oldVersion, "PLATFORMS=linux/amd64"); err != nil {
		return dists{}, err
	}
	d := dists{filepath.Join(top, "old"), filepath.Join(first, "dist"), filepath.Join(second, "dist")}
	if err := os.Rename(d.first, d.old); err != nil {
		return dists{}, err
	}
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, dir := range []string{first, second} {
		both.Go(func() { errs[i] = makeIn(dir, "release", "VERSION="+newVersion) })
	}
	both.Wait()
	return d, errors.Join(errs...)
})

// makeIn runs make in a checkout.
func makeIn(dir string, args ...string) error { return command(dir, "make", args...) }

// command runs a program in dir with this process's environment.
func command(dir, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Dir = dir
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, out.Bytes())
	}
	return nil
}

// one returns the path of the only file in dir that matches.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%s in %s: %v, %v", pattern, dir, paths, err)
	}
	return paths[0]
}
