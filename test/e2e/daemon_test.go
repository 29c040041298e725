//go:build e2e

package e2e

import (
	"bufio"
	"cmp"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mirrord/internal/hubsim"
)

const (
	tagsFresh   = time.Second // the daemon asks again about a tag that is older
	readyWithin = 30 * time.Second
)

// program is the path of the daemon, built from this checkout by TestMain.
var program string

func TestMain(m *testing.M) {
	if len(os.Args) > 4 && os.Args[1] == enterArg {
		fmt.Fprintln(os.Stderr, "e2e: enter:", enter(os.Args[2], os.Args[3], os.Args[4], os.Args[5:]))
		os.Exit(127)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: dockerd, containerd and podman are run as root: run the tests as root")
		return 1
	}
	dir, err := os.MkdirTemp("", "mirrord-e2e-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "mirrord")
	if out, err := exec.Command("go", "build", "-o", program, "mirrord/cmd/mirrord").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: build mirrord: %v\n%s", err, out)
		return 1
	}
	// The PATH of a Debian login shell lacks the directory of dockerd.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer rows.print()
	defer clients.print()
	return m.Run()
}

// startHub starts a Docker Hub without a limit until the end of the test.
func startHub(t *testing.T) *hubsim.Hub {
	t.Helper()
	return startLimited(t, 0)
}

// startLimited starts one that allows limit pulls in six hours.
func startLimited(t *testing.T, limit int) *hubsim.Hub {
	t.Helper()
	hub, err := hubsim.Start(hubsim.Options{Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	return hub
}

// mirror is a mirrord in front of a hub, with a cache of its own.
type mirror struct {
	home     *home
	address  string // of the registry, as host:port
	admin    string
	settings []string // flags for the upstream and its tags
	program  string   // another daemon than that of this checkout, or empty
	process  *process
}

func startMirror(t *testing.T, hub *hubsim.Hub) *mirror {
	t.Helper()
	return startDaemon(t, "--tags-fresh", tagsFresh.String(), "--upstream", "name=docker.io,url="+hub.URL())
}

// startDaemon starts a mirror with these flags for the upstream and its tags.
func startDaemon(t *testing.T, settings ...string) *mirror {
	t.Helper()
	m := &mirror{home: newHome(t), address: freeAddress(t), admin: freeAddress(t), settings: settings}
	m.start(t)
	return m
}

// start starts the daemon, also again after it has been killed, with the same addresses
// and the same cache. It returns when the daemon is ready.
func (m *mirror) start(t *testing.T) {
	t.Helper()
	m.run(t, "--listen", m.address, "--admin-listen", m.admin,
		"--cache-dir", m.home.path("cache"), "--cache-min-free", "0", "--quota-probe", "0s")
}

// run is start with these flags instead of those for the addresses and the cache.
func (m *mirror) run(t *testing.T, flags ...string) {
	t.Helper()
	m.process = m.home.start(t, cmp.Or(m.program, program), slices.Concat([]string{"serve"}, flags, m.settings)...)
	m.awaitReady(t)
}

// awaitReady returns when the daemon is ready.
func (m *mirror) awaitReady(t *testing.T) {
	t.Helper()
	m.process.await(t, readyWithin, func() bool {
		answer, err := http.Get("http://" + m.admin + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// url returns the URL of the registry.
func (m *mirror) url() string { return "http://" + m.address }

// served returns the number of successful client requests by kind: "manifest", "blob".
func (m *mirror) served(t *testing.T) map[string]int {
	t.Helper()
	served := make(map[string]int)
	for series, value := range m.metrics(t) {
		if !strings.HasPrefix(series, "mirrord_requests_total{") || !strings.Contains(series, `status="2xx"`) {
			continue
		}
		_, kind, _ := strings.Cut(series, `kind="`)
		kind, _, _ = strings.Cut(kind, `"`)
		served[kind] += int(value)
	}
	return served
}

// metrics scrapes the mirror: it returns the values by series with labels.
func (m *mirror) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	answer, err := http.Get("http://" + m.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	metrics := make(map[string]float64)
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		line := lines.Text()
		end := strings.LastIndexByte(line, ' ')
		if end < 0 || line[0] == '#' {
			continue
		}
		value, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			t.Fatalf("metric %q: %v", line, err)
		}
		metrics[line[:end]] = value
	}
	return metrics
}

// freeAddress returns an address with a port that is free at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
