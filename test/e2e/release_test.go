//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// release is where a client comes from.
type release struct {
	name string
	root string // a tree of its own to run in, or "" for this machine's
	bin  string // a directory with the programs, or "" for PATH
}

var (
	debian12 = release{name: "Debian 12"}
	newest   = release{name: "newest", root: filepath.Join(clientsDir(), "root")}
	modules  = release{name: "module", bin: filepath.Join(clientsDir(), "bin")}
)

// clientsDir is where clients.sh puts what it gets.
func clientsDir() string {
	if dir := os.Getenv("E2E_CLIENTS"); dir != "" {
		return dir
	}
	cache, _ := os.UserCacheDir()
	return filepath.Join(cache, "mirrord-e2e")
}

// eachDebian runs a test with the client of Debian 12, which must be there, and
// with the newest one.
func eachDebian(t *testing.T, test func(t *testing.T, from release)) {
	for _, from := range []release{debian12, newest} {
		t.Run(from.name, func(t *testing.T) { test(t, from) })
	}
}

// home makes a home in which the programs of this release run. Without them the
// test fails, or is skipped when clients.sh says that Debian does not have them.
func (r release) home(t *testing.T, programs ...string) *home {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(r.path(name)); err != nil {
			absent(t, r, name)
		}
	}
	h := newHome(t)
	h.root, h.hosts = r.root, h.write(t, "hosts", noInternet)
	return h
}

// path is where a program of this release is, seen from outside of its root.
func (r release) path(name string) string {
	if r.root == "" {
		return filepath.Join(r.bin, name) // name itself without a directory
	}
	for _, dir := range []string{"usr/bin", "usr/sbin"} {
		if path := filepath.Join(r.root, dir, name); exists(path) {
			return path
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// packageOf is the package of a program that is not called like it.
var packageOf = map[string]string{"ctr": "containerd", "dockerd": "docker.io", "docker": "docker-cli"}

// absent ends the test.
func absent(t *testing.T, r release, program string) {
	t.Helper()
	wanted := program
	if name, ok := packageOf[program]; ok {
		wanted = name
	}
	missing, _ := os.ReadFile(filepath.Join(clientsDir(), "missing"))
	for line := range strings.Lines(string(missing)) {
		if name, why, _ := strings.Cut(strings.TrimSpace(line), ": "); r == newest && name == wanted {
			clients.add("NOT RUN: " + wanted + ": " + why)
			t.Skipf("%s cannot be had: %s", program, why)
		}
	}
	t.Fatalf("%s has no %s: run make e2e, or sh test/e2e/install.sh and sh test/e2e/clients.sh", r.name, program)
}

// What is printed at the end.
var (
	clients = roll{title: "Clients:"} // what ran, and what could not be had
	rows    = roll{title: "| client | what is refused | status | turns to the next host after | fails without one after | requests | repeats |\n|---|---|---|---|---|---|---|"}
)

type roll struct {
	title string
	mu    sync.Mutex
	lines []string
}

func (r *roll) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.lines, line) {
		r.lines = append(r.lines, line)
	}
}

func (r *roll) print() {
	if len(r.lines) == 0 {
		return
	}
	slices.Sort(r.lines)
	fmt.Println(r.title + "\n" + strings.Join(r.lines, "\n"))
}

// ran adds a client to the roll by the first line that it says of its version.
func (r release) ran(t *testing.T, version string) {
	t.Helper()
	line, _, _ := strings.Cut(strings.TrimSpace(version), "\n")
	t.Logf("%s: %s", r.name, line)
	clients.add(r.name + ": " + strings.Join(strings.Fields(line), " "))
}

// enterArg makes the test binary run a program in a root, see enter.
const enterArg = "enter-root"

// noInternet stands in for /etc/hosts: a client that gives up on the mirror
// finds nobody at Docker Hub, at once.
const noInternet = `127.0.0.1 localhost
127.0.0.1 docker.io index.docker.io registry-1.docker.io auth.docker.io
`

// enter replaces this process by a program that sees its own mounts: the root,
// when there is one, with this machine's processes, devices and /tmp in it, and
// the file hosts as /etc/hosts. Not chroot, after which runc and the unpackers
// of Docker and podman cannot pivot_root.
func enter(root, hosts, program string, args []string) error {
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := bind(hosts, filepath.Join(root, "/etc/hosts")); err != nil {
		return err
	}
	if root != "" {
		if err := pivot(root); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return err
	}
	return syscall.Exec(path, append([]string{program}, args...), os.Environ())
}

func bind(from, to string) error {
	if err := syscall.Mount(from, to, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", from, to, err)
	}
	return nil
}

// pivot makes a directory the root, and stays in the working directory where
// that is below /tmp.
func pivot(root string) error {
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := bind(root, root); err != nil {
		return err
	}
	for _, dir := range []string{"/proc", "/sys", "/dev", "/tmp"} {
		if err := bind(dir, filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := syscall.PivotRoot(".", "."); err != nil { // the old root lies on the new one
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := syscall.Unmount(".", syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return os.Chdir(wd)
}
