//go:build e2e

package e2e

import (
	"encoding/xml"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// minPassed is how many tests of the suite pass at least; fewer mean that it has not run.
const minPassed = 400

// The conformance suite of the OCI distribution spec gives the mirror no worse results
// than the registry behind it. The suite compares every body that it reads.
func TestConformance(t *testing.T) {
	for name, start := range map[string]func(*testing.T) string{
		"distribution": func(t *testing.T) string { return startDistribution(t, "") },
		"referrers":    startReferrers,
	} {
		t.Run(name, func(t *testing.T) {
			upstream := start(t)
			m := startDaemon(t, "--tags-fresh", "0s", "--upstream", "name=upstream.example,url="+upstream)
			direct := runSuite(t, upstream, "direct")
			mirrored := runSuite(t, startSplitter(t, m.url(), upstream), "mirrored")
			compare(t, direct, mirrored)
		})
	}
}

// startDistribution starts the registry of github.com/distribution with further lines
// of its configuration, and returns its URL.
func startDistribution(t *testing.T, more string) string {
	t.Helper()
	url, _, _ := startDistributionIn(t, more)
	return url
}

// startDistributionIn is startDistribution, and returns its directory and its process too.
func startDistributionIn(t *testing.T, more string) (url, dir string, running *process) {
	t.Helper()
	h := modules.home(t, "registry")
	modules.ran(t, h.must(t, modules.path("registry"), "--version"))
	h.env = []string{"OTEL_TRACES_EXPORTER=none"}
	address := freeAddress(t)
	config := h.write(t, "registry.yml", `version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: "`+h.path("storage")+`"}, delete: {enabled: true}}
http: {addr: "`+address+`"}
`+more+"\n")
	running = h.start(t, modules.path("registry"), "serve", config)
	running.await(t, readyWithin, func() bool {
		resp, err := http.Get("http://" + address + "/v2/")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	return "http://" + address, h.path("storage"), running
}

// startReferrers starts a registry with the referrers API, which distribution lacks, and
// returns its URL.
func startReferrers(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return server.URL
}

// startSplitter starts a proxy that sends what reads content to the mirror, and
// everything about uploads and deletions to the upstream: the suite pulls what it has
// pushed. It returns the URL of the proxy.
func startSplitter(t *testing.T, mirror, upstream string) string {
	t.Helper()
	reads, writes := parseURL(t, mirror), parseURL(t, upstream)
	server := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		to := reads
		if r.In.Method != http.MethodGet && r.In.Method != http.MethodHead || strings.Contains(r.In.URL.Path, "/blobs/uploads/") {
			to = writes
		}
		r.SetURL(to)
		r.Out.Host = r.In.Host // the registry returns URLs for uploads
	}})
	t.Cleanup(server.Close)
	return server.URL
}

func parseURL(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// suiteTest is a test in a report of the suite.
type suiteTest struct {
	Name   string `xml:"name,attr"`
	Status string `xml:"status,attr"`
	Reason string `xml:"system-out"`
}

// ranks are the results of a test, the worst first.
var ranks = []string{"error", "failure", "skipped", "passed"}

func (s suiteTest) rank() int { return slices.Index(ranks, s.Status) }

// runSuite runs the suite against a registry with repositories below prefix. It returns
// the tests by name, several of which can have the same, with the worst first.
//
// The suite checks that what it has deleted is gone, but not that content is gone at
// once: the mirror serves content by digest until it is evicted.
func runSuite(t *testing.T, registry, prefix string) map[string][]suiteTest {
	t.Helper()
	h := modules.home(t, "conformance")
	version, _ := os.ReadFile(modules.path("conformance.version"))
	modules.ran(t, string(version))
	h.env = []string{
		"OCI_VERSION=1.1", "OCI_REGISTRY=" + parseURL(t, registry).Host, "OCI_TLS=disabled",
		"OCI_REPO1=" + prefix + "/repo1", "OCI_REPO2=" + prefix + "/repo2", "OCI_RESULTS_DIR=" + h.dir,
		"OCI_API_BLOBS_DIGEST_HEADER=true", "OCI_API_MANIFESTS_DIGEST_HEADER=true",
		"OCI_API_BLOBS_ATOMIC=false", "OCI_API_MANIFESTS_ATOMIC=false",
	}
	out, failed := h.run(modules.path("conformance")) // it fails when one of its tests does
	report, err := os.ReadFile(h.path("junit.xml"))
	if err != nil {
		t.Fatalf("the suite has no results: %v\n%s%v", err, out, failed)
	}
	var suites struct {
		Tests []suiteTest `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(report, &suites); err != nil {
		t.Fatal(err)
	}
	tests, count := make(map[string][]suiteTest), make(map[string]int)
	for _, test := range suites.Tests {
		tests[test.Name] = append(tests[test.Name], test)
		count[test.Status]++
	}
	for _, same := range tests {
		slices.SortFunc(same, func(a, b suiteTest) int { return a.rank() - b.rank() })
	}
	t.Logf("%s: %v", prefix, count)
	if count["passed"] < minPassed {
		t.Errorf("%s: %d tests passed, want %d and more", prefix, count["passed"], minPassed)
	}
	return tests
}

// compare logs the tests with another result through the mirror, and fails the test for
// each that is worse.
func compare(t *testing.T, direct, mirrored map[string][]suiteTest) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(direct)) {
		without, with := direct[name], mirrored[name]
		if len(with) != len(without) {
			t.Errorf("%s: run %d times through the mirror, %d without it", name, len(with), len(without))
			continue
		}
		better := 0
		for i := range with {
			if with[i].rank() < without[i].rank() {
				t.Errorf("worse: %s: %s, %s without the mirror: %s", name, with[i].Status, without[i].Status, with[i].Reason)
			} else if with[i].rank() > without[i].rank() {
				better++
			}
		}
		if better > 0 {
			t.Logf("better: %s, %d of %d; without the mirror: %s", name, better, len(with), without[0].Reason)
		}
	}
}
