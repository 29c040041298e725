package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	repository = "../.."

	// What the processes of this test tell each other by their environment.
	containerEnv = "DEPLOY_CONTAINER" // this process is a container: its JSON
	preparedEnv  = "DEPLOY_PREPARED"  // this process has a network of its own: the directory of what is built
)

// podAddress is the address of every pod: another one than that of loopback, as for
// the kubelet.
var podAddress = [4]byte{10, 77, 0, 2}

// prepared is the directory of what is built before the tests; empty for users who may not
// make namespaces.
var prepared = os.Getenv(preparedEnv)

// TestMain runs the tests in a network of their own, where the ports of the manifests are
// free. What needs another network is done before.
func TestMain(m *testing.M) {
	if text := os.Getenv(containerEnv); text != "" {
		exit(becomeContainer(text))
	}
	if os.Geteuid() != 0 {
		os.Exit(m.Run())
	}
	if prepared == "" {
		if err := runInNetwork(); !errors.Is(err, syscall.EPERM) {
			exit(err)
		}
		os.Exit(m.Run()) // such as in a container: see needRoot
	}
	if err := setUpNetwork(); err != nil {
		exit(err)
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if failed, ok := err.(*exec.ExitError); ok {
		os.Exit(failed.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runInNetwork prepares and runs this binary again.
func runInNetwork() error {
	dir, err := os.MkdirTemp("", "mirrord-deploy-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := prepare(dir); err != nil {
		return err
	}
	again := exec.Command("/proc/self/exe", os.Args[1:]...)
	again.Env = append(os.Environ(), preparedEnv+"="+dir)
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	return again.Run()
}

// prepare builds the image, the simulator of Docker Hub and an object store.
func prepare(dir string) error {
	root, err := filepath.Abs(repository)
	if err != nil {
		return err
	}
	platform := "linux/" + runtime.GOARCH
	for _, args := range [][]string{
		{"build", "-o", filepath.Join(dir, "hubsim"), "./cmd/hubsim"},
		{"-C", "test/tools", "build", "-o", filepath.Join(dir, storeProgram), "github.com/versity/versitygw/cmd/versitygw"},
		{"-C", "deploy/release", "run", ".", "-root", root, "-out", dir, "-version", imageVersion, "-platforms", platform, "image"},
	} {
		c := exec.Command("go", args...)
		c.Dir, c.Stderr = root, os.Stderr
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "SOURCE_DATE_EPOCH=0")
		if err := c.Run(); err != nil {
			return fmt.Errorf("go %v: %w", args, err)
		}
	}
	return exec.Command("go", "mod", "download", kubernetes).Run() // for later, without a network
}

// setUpNetwork gives the loopback device the address of the pod, too.
func setUpNetwork() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	up, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	up.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, up); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	pod, err := unix.NewIfreq("lo:1")
	if err != nil {
		return err
	}
	if err := pod.SetInet4Addr(podAddress[:]); err != nil {
		return err
	}
	return unix.IoctlIfreq(socket, unix.SIOCSIFADDR, pod)
}

// needRoot skips a test that runs containers.
func needRoot(t *testing.T) {
	t.Helper()
	if prepared == "" {
		t.Skip("containers need root, who may make namespaces")
	}
}

// becomeContainer runs the container that text describes in place of this process.
func becomeContainer(text string) error {
	var c container
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	return c.become()
}
