package doctor

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/hubsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// first asks address, and compares the first check.
func first(t *testing.T, address string, want State, words string) []Check {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: new(tls.Config)}
	defer transport.CloseIdleConnections()
	all := Upstream(t.Context(), "docker.io", u, transport)
	if all[0].State != want || !strings.Contains(all[0].Detail+all[0].Advice, words) || (want == OK) != (all[0].Advice == "") {
		t.Errorf("%+v, want %s with %q", all[0], want, words)
	}
	return all
}

func TestUpstream(t *testing.T) {
	hub, err := hubsim.Start(hubsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	first(t, hub.URL(), OK, "401")
	if n := hub.Counters().ManifestRequests; n != 0 {
		t.Errorf("%d requests of manifests", n)
	}
	remove := hub.Inject(hubsim.Fault{Status: http.StatusBadGateway})
	first(t, hub.URL(), Fail, "502")
	remove()
	hub.Inject(hubsim.Fault{Status: http.StatusTooManyRequests})
	first(t, hub.URL(), Warn, "limits")
	hub.Down()
	first(t, hub.URL(), Fail, "no connection")
}

func TestCertificate(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	first(t, server.URL, Fail, "ca_file")
}

func TestName(t *testing.T) { first(t, "http://registry.invalid", Fail, "DNS") }

func TestClock(t *testing.T) {
	now := time.Date(2026, 11, 27, 2, 0, 0, 0, time.UTC)
	for skew, want := range map[time.Duration]State{0: OK, 30 * time.Second: OK, 31 * time.Second: Warn, -time.Hour: Warn} {
		header := http.Header{"Date": {now.Add(skew).Format(http.TimeFormat)}}
		if all := clock("docker.io", header, now); len(all) != 1 || all[0].State != want {
			t.Errorf("%s: %+v", skew, all)
		}
	}
	if all := clock("docker.io", http.Header{}, now); all != nil {
		t.Errorf("without a Date: %+v", all)
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	for _, c := range Disk(dir, 1, 0) {
		if c.State == Fail || c.What == "disk space" && c.State != OK {
			t.Errorf("%+v", c)
		}
	}
	for _, tt := range []struct {
		free, total, maxSize int64
		want                 State
	}{{9, 100, 50, Warn}, {10, 100, 90, OK}, {10, 100, 91, Warn}} {
		if c := space(dir, tt.free, tt.total, tt.maxSize, 10); c.State != tt.want {
			t.Errorf("%+v: %+v", tt, c)
		}
	}
	if c := fileSystem(dir, 0x6969); c.State != Warn {
		t.Errorf("%+v", c)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if c := Disk(dir+"/none", 1, 0)[0]; c.State != Warn {
		t.Errorf("%+v", c)
	}
}
