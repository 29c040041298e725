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

// release is the Debian release of a client.
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

// clientsDir is the directory of clients.sh for its downloads.
func clientsDir() string {
	if dir := os.Getenv("E2E_CLIENTS"); dir != "" {
		return dir
	}
	cache, _ := os.UserCacheDir()
	return filepath.Join(cache, "mirrord-e2e")
}

// eachDebian runs a test with the client of Debian 12, which must be installed, and with
// the newest one.
func eachDebian(t *testing.T, test func(t *testing.T, from release)) {
	for _, from := range []release{debian12, newest} {
		t.Run(from.name, func(t *testing.T) { test(t, from) })
	}
}

// home creates a home for the programs of this release. If they are missing, the test
// fails, or is skipped when clients.sh has recorded that Debian lacks them.
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

// path returns the path of a program of this release from outside its root.
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

// packageOf has the packages of programs whose package has another name.
var packageOf = map[string]string{"ctr": "containerd", "dockerd": "docker.io", "docker": "docker-cli"}

// absent fails or skips the test because a program is missing.
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
			t.Skipf("%s is not available: %s", program, why)
		}
	}
	t.Fatalf("%s has no %s: run make e2e, or sh test/e2e/install.sh and sh test/e2e/clients.sh", r.name, program)
}

// Printed at the end.
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

// ran adds a client to the list by the first line of its version output.
func (r release) ran(t *testing.T, version string) {
	t.Helper()
	line, _, _ := strings.Cut(strings.TrimSpace(version), "\n")
	t.Logf("%s: %s", r.name, line)
	clients.add(r.name + ": " + strings.Join(strings.Fields(line), " "))
}

// enterArg makes the test binary run a program in a root, see enter.
const enterArg = "enter-root"

// noInternet replaces /etc/hosts: a client that falls back from the mirror to Docker Hub
// fails immediately.
const noInternet = `127.0.0.1 localhost
` + secureAddress + " " + mirrorName + `
127.0.0.1 docker.io index.docker.io registry-1.docker.io auth.docker.io ghcr.io quay.io registry.example
`

// enter replaces this process with a program in its own mount namespace: with the root,
// if there is one, this machine's processes, devices and /tmp in it, and the file hosts
// as /etc/hosts. It does not use chroot, after which runc and the unpackers of Docker
// and podman cannot pivot_root.
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
	if certs := filepath.Join(filepath.Dir(hosts), dockerCerts); exists(certs) {
		if err := bindDir(certs, filepath.Join(root, "/etc/docker/certs.d")); err != nil {
			return err
		}
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

// dockerCerts is a directory in a home that replaces /etc/docker/certs.d.
const dockerCerts = "docker-certs"

// bindDir is bind for a directory that may be missing; then it is created.
func bindDir(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return bind(from, to)
}

func bind(from, to string) error {
	if err := syscall.Mount(from, to, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", from, to, err)
	}
	return nil
}

// pivot makes a directory the root, and keeps the working directory if that is below
// /tmp.
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
