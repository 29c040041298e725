//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"golang.org/x/sync/errgroup"
)

const (
	systemdProgram = "/lib/systemd/systemd"
	socketAddress  = "127.0.0.43:443" // below 1024, and nobody else's
)

// machineFile is the configuration of a machine's mirror, which /etc/default/mirrord names.
const machineFile = "/etc/mirrord/office.yaml"

// machine is a systemd of its own, with the shipped units.
type machine struct {
	process *process
	pid     string // of systemd, seen from here
}

// boot starts a machine whose mirror has that configuration, with the password of the
// account of the sample, and a watchdog that does not wait long.
func boot(t *testing.T, configuration string) *machine {
	t.Helper()
	for _, needed := range []string{systemdProgram, "unshare", "nsenter", "findmnt", "pivot_root"} {
		if _, err := exec.LookPath(needed); err != nil {
			clients.add("NOT RUN: the units under systemd: there is no " + needed)
			t.Skipf("there is no %s", needed)
		}
	}
	h := newHome(t)
	units := "root/etc/systemd/system/"
	for _, unit := range []string{"mirrord.service", "mirrord.socket"} {
		h.write(t, units+unit, readRepository(t, "deploy/systemd/"+unit))
	}
	h.write(t, units+"mirrord.service.d/password.conf", block(t, "docs/troubleshooting.md", "LoadCredential="))
	h.write(t, units+"mirrord.service.d/watchdog.conf", "[Service]\nWatchdogSec=4\n")
	h.write(t, units+"mirrord.socket.d/address.conf", strings.ReplaceAll(block(t, "docs/troubleshooting.md", "ListenStream="), "0.0.0.0:443", socketAddress))
	h.write(t, units+"e2e.target", "[Unit]\nRequires=mirrord.socket\nWants=systemd-journald.service mirrord.service\n")
	h.write(t, "root/etc/mirrord/mirrord.yaml", "listen: 127.0.0.1:1 # and not this one\n")
	h.write(t, "root"+machineFile, configuration)
	h.write(t, "root/etc/default/mirrord", "MIRRORD_CONFIG="+machineFile+"\nMIRRORD_ACCESS_AUDIT_LOG=/var/log/mirrord/audit.jsonl\n")
	check0600(t, h.write(t, "root/etc/mirrord/hub-password", "secret\n"))
	h.must(t, "install", "-D", program, h.path("root/usr/local/bin/mirrord"))
	var p *process
	t.Cleanup(func() { removeCgroup(t, p.cmd.Process.Pid) })
	p = h.start(t, "sh", filepath.Join(here(t), "testdata", "systemd.sh"), h.dir)
	m := &machine{process: p}
	t.Cleanup(func() { m.end(t) })
	eventually(t, readyWithin, "systemd runs", func() bool {
		select {
		case <-p.gone:
			if p.cmd.ProcessState.ExitCode() == 77 {
				clients.add("NOT RUN: the units under systemd: " + p.tail())
				t.Skip(p.tail())
			}
			t.Fatalf("systemd does not run here: %s", p.cmd.ProcessState)
		default:
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", p.cmd.Process.Pid))
		m.pid = strings.TrimSpace(string(children))
		return m.pid != "" && m.property("ActiveState") == "active"
	})
	return m
}

// end ends the machine, and shows the journal of a test that has failed.
func (m *machine) end(t *testing.T) {
	if m.pid == "" {
		return
	}
	if t.Failed() {
		out, err := m.run("journalctl", "--no-pager", "--unit=mirrord", "--lines=100")
		t.Logf("the journal: %v\n%s", err, out)
	}
	_ = exec.Command("kill", "-KILL", m.pid).Run() // as the first process it ignores SIGTERM
	<-m.process.gone
}

// run runs a program in the machine.
func (m *machine) run(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), runWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nsenter", append([]string{"-t", m.pid, "-m", "-p", "-u", "-i", "-C", "-r", "-w", name}, args...)...).CombinedOutput()
	return string(out), err
}

func (m *machine) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := m.run(name, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// property is what systemd says of the service.
func (m *machine) property(name string) string {
	out, _ := m.run("systemctl", "show", "--property="+name, "--value", "mirrord.service")
	return strings.TrimSpace(out)
}

// The shipped units run the sample of the documentation under a real systemd: with a
// password that only root may read, on a port below 1024 without any capability. Pulls
// over restarts do not fail, and a mirror that hangs is restarted with its stacks in the
// journal.
func TestSystemd(t *testing.T) {
	hub := startHub(t)
	hub.SetUsers(map[string]string{"example": "secret"})
	image := publishLayers(t, hub, 5, 1<<20)
	sample := block(t, "docs/configuration.md", "password_file: /run/credentials/mirrord.service/hub-password")
	m := boot(t, strings.NewReplacer(
		"0.0.0.0:5000", socketAddress, "127.0.0.1:5001", freeAddress(t), "min_free: 10GiB", "min_free: 0", "https://registry-1.docker.io", hub.URL(),
	).Replace(sample))
	if uid := m.property("UID"); uid == "0" || m.property("NRestarts") != "0" {
		t.Errorf("the mirror runs as user %s", uid)
	}
	if _, err := pullFromSocket(image.ref); err != nil {
		t.Fatal(err)
	}
	if hub.Counters().ManifestGETs == 0 {
		t.Error("nothing came from the hub")
	}
	pullOverRestarts(t, m, image.ref)
	reloads(t, m)
	runFiles(t, m)

	m.must(t, "systemctl", "kill", "--signal=STOP", "mirrord.service")
	eventually(t, time.Minute, "the watchdog restarts the mirror", func() bool { return m.property("NRestarts") == "1" && m.property("ActiveState") == "active" })
	if _, err := pullFromSocket(image.ref); err != nil {
		t.Error(err)
	}
	log := m.must(t, "journalctl", "--unit=mirrord", "--output=cat", "--no-pager")
	for _, want := range []string{"Watchdog timeout", "SIGABRT: abort", "goroutine 1 "} {
		if !strings.Contains(log, want) {
			t.Errorf("the journal has no %q", want)
		}
	}
	clients.add("units: " + strings.SplitN(m.must(t, "systemctl", "--version"), "\n", 2)[0])
}

// reloads checks that systemctl reload fails when the mirror refuses the configuration.
func reloads(t *testing.T, m *machine) {
	t.Helper()
	m.must(t, "systemctl", "reload", "mirrord.service")
	m.must(t, "sh", "-c", "cp "+machineFile+" /tmp/good && echo 'colour: red' >>"+machineFile)
	if out, err := m.run("systemctl", "reload", "mirrord.service"); err == nil {
		t.Errorf("a reload that the mirror refuses has succeeded: %s", out)
	}
	if status := m.property("StatusText"); !strings.Contains(status, "previous configuration") || !strings.Contains(status, "colour") {
		t.Errorf("the status is %q", status)
	}
	if state := m.property("ActiveState"); state != "active" {
		t.Errorf("after the refused reload the unit is %s", state)
	}
	m.must(t, "sh", "-c", "cat /tmp/good >"+machineFile)
	m.must(t, "systemctl", "reload", "mirrord.service")
}

// runFiles checks what the unit makes for administrators: the socket of the admin API, where
// the commands find the mirror though its address came with the socket, and the audit log.
func runFiles(t *testing.T, m *machine) {
	t.Helper()
	for file, want := range map[string]string{
		"/run/mirrord/admin.sock":      "srw-rw---- " + m.property("UID") + " " + m.property("GID"),
		"/var/log/private/mirrord":     "drwxr-x--- " + m.property("UID") + " " + m.property("GID"),
		"/var/log/mirrord/audit.jsonl": "-rw------- " + m.property("UID") + " " + m.property("GID"),
		"/var/cache/private/mirrord":   "drwxr-x--- " + m.property("UID") + " " + m.property("GID"),
	} {
		if got := strings.TrimSpace(m.must(t, "stat", "-c", "%A %u %g", file)); got != want {
			t.Errorf("%s is %s, want %s", file, got, want)
		}
	}
	const binary = "/usr/local/bin/mirrord"
	for verb, want := range map[string]string{"ready": "ready", "quota": "docker.io"} {
		if out := m.must(t, binary, verb); !strings.Contains(out, want) {
			t.Errorf("mirrord %s: %s", verb, out)
		}
	}
	m.must(t, "install", "-d", "/var/lib/registry/docker/registry/v2/blobs", "/var/lib/registry/docker/registry/v2/repositories")
	m.must(t, "sh", "-c", line(t, "docs/airgap.md", "mirrord import /var/lib/registry"))
	eventually(t, runWithin, "the audit log has the import", func() bool {
		return strings.Contains(m.must(t, "cat", "/var/log/mirrord/audit.jsonl"), "POST /v1/import?")
	})
}

// pullOverRestarts restarts the mirror twice during a hundred pulls.
func pullOverRestarts(t *testing.T, m *machine, ref string) {
	t.Helper()
	const pulls, pullers, restarts = 100, 10, 2
	var done atomic.Int32
	var all errgroup.Group
	for range pullers {
		all.Go(func() error {
			for range pulls / pullers {
				if _, err := pullFromSocket(ref); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	}
	for i := range restarts {
		eventually(t, runWithin, "pulls", func() bool { return done.Load() >= int32(pulls*(i+1)/(restarts+2)) })
		m.must(t, "systemctl", "restart", "mirrord.service")
	}
	if done.Load() == pulls {
		t.Error("the last restart was after the last pull")
	}
	if err := all.Wait(); err != nil {
		t.Errorf("a pull over a restart failed: %v", err)
	}
}

// pullFromSocket pulls an image of the hub from the socket, verifies every byte, and retries
// nothing.
func pullFromSocket(ref string) (v1.Image, error) {
	return pullAt(socketAddress, ref)
}

func pullAt(address, ref string) (v1.Image, error) {
	r, err := name.ParseReference(address+"/"+strings.TrimPrefix(ref, "docker.io/"), name.Insecure)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(r, remote.WithTransport(&http.Transport{DisableKeepAlives: true}),
		remote.WithRetryStatusCodes(), remote.WithRetryPredicate(func(error) bool { return false }))
	if err != nil {
		return nil, err
	}
	return img, validate.Image(img)
}

// systemd-socket-activate starts the mirror with the first connection, which it answers.
func TestSocketActivate(t *testing.T) {
	if _, err := exec.LookPath("systemd-socket-activate"); err != nil {
		clients.add("NOT RUN: systemd-socket-activate: it is not installed")
		t.Skip("there is no systemd-socket-activate")
	}
	hub := startHub(t)
	image := publishLayers(t, hub, 2, 1<<10)
	h, address := newHome(t), freeAddress(t)
	p := h.start(t, "systemd-socket-activate", "-l", address, program, "serve", "--admin-listen", freeAddress(t),
		"--cache-dir", h.path("cache"), "--cache-min-free", "0", "--quota-probe", "0s", "--upstream", "name=docker.io,url="+hub.URL())
	p.await(t, readyWithin, func() bool {
		_, err := pullAt(address, image.ref)
		return err == nil
	})
	eventually(t, readyWithin, "the log has the socket", func() bool { return strings.Contains(p.tail(), `"listen":"`+address+`"`) })
}

// block returns the fenced block of a page that has the text.
func block(t *testing.T, page, text string) string {
	t.Helper()
	for _, found := range regexp.MustCompile("(?s)```\\w+\n(.*?)```").FindAllStringSubmatch(readRepository(t, page), -1) {
		if strings.Contains(found[1], text) {
			return found[1]
		}
	}
	t.Fatalf("%s has no block with %s", page, text)
	return ""
}

// line returns the command of a page that has the text, as root runs it.
func line(t *testing.T, page, text string) string {
	t.Helper()
	for found := range strings.Lines(readRepository(t, page)) {
		if command, ok := strings.CutPrefix(found, "    sudo "); ok && strings.Contains(command, text) {
			return strings.TrimSpace(command)
		}
	}
	t.Fatalf("%s has no command with %s", page, text)
	return ""
}

func readRepository(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(here(t), "..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func here(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func check0600(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// removeCgroup removes what the script has created, when the processes in it are gone.
func removeCgroup(t *testing.T, pid int) {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		group := filepath.Join(dir, fmt.Sprintf("mirrord-e2e-%d", pid))
		if !exists(group) {
			continue
		}
		eventually(t, stopWithin, group+" is removed", func() bool {
			return exec.Command("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").Run() == nil
		})
	}
}
