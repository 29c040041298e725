package doccheck

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"mirrord/internal/access"
	"mirrord/internal/cache"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/budget"
	"mirrord/internal/fleet/fleetprobe"
	"mirrord/internal/fleet/sibling"
	"mirrord/internal/fleet/tag"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/ratelimit"
	"mirrord/internal/telemetry"
	"mirrord/internal/warm"
)

// metric is what a scrape tells of one metric, but for its values.
type metric struct {
	kind   string
	labels []string
}

// useBucket makes each request to a bucket once.
func useBucket(t *testing.T, m *telemetry.Metrics) {
	t.Helper()
	b := m.Bucket(buckettest.NewMemory())
	m.WatchUploads(func() int { return 0 })
	m.WatchFleetBudgets(func() map[string]budget.Stats {
		return map[string]budget.Stats{"docker.io": {Pulls: map[budget.Result]int64{budget.Granted: 1}}}
	})
	m.WatchFleetTags(func() map[tag.Lookup]int64 { return nil })
	telemetry.FleetHooks(zap.NewNop(), m)
	m.WatchSiblings(func() int { return 0 })
	telemetry.SiblingOptions(zap.NewNop(), m, sibling.HandlerOptions{})
	m.WatchProbe(func() (none fleetprobe.State) { return none })
	if _, err := b.Put(t.Context(), "key", []byte("data"), bucket.Cond{}); err != nil {
		t.Fatal(err)
	}
}

// gathered returns every metric of the code, by name, as a daemon shows it that
// has done all there is to do once.
func gathered(t *testing.T) map[string]metric {
	t.Helper()
	m := telemetry.NewMetrics("v0")
	useBucket(t, m)
	m.WatchCache(func() telemetry.Snapshot {
		return telemetry.Snapshot{Cache: cache.Stats{Saved: map[string]int64{"docker.io": 1}}}
	})
	m.WatchQuota(func() []ratelimit.Budget { return []ratelimit.Budget{{Limit: 100, Window: time.Hour}} })
	m.WatchLogins(func() []telemetry.Login { return []telemetry.Login{{}} })
	m.WatchHosts("docker.io", func() int { return 0 })
	m.WatchCertificates(func() []telemetry.Validity { return []telemetry.Validity{{Listen: ":443"}} })
	m.WatchWarm(func() []warm.ListStatus { return []warm.ListStatus{{LastSuccess: time.Now(), Next: time.Now()}} })
	m.WatchWebhooks(func() []telemetry.Webhook { return []telemetry.Webhook{{Deliveries: map[string]int64{"delivered": 1}}} })
	m.WatchDisk(func() (int64, error) { return 1, nil })
	m.Observe(httptest.NewRequest(http.MethodGet, "/v2/", nil), proxy.Event{Err: &oci.LimitError{Kind: oci.LimitRate}})
	m.Resumed("docker.io")()
	m.Pacer(nil)
	telemetry.Refused(zap.NewNop(), m, nil)(t.Context(), access.Refusal{})
	telemetry.LoginFailed(zap.NewNop(), m, nil)(access.LoginFailure{Method: access.Htpasswd})
	ask(t, m)

	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]metric)
	for _, family := range families {
		labels := make(map[string]bool)
		for _, sample := range family.GetMetric() {
			for _, label := range sample.GetLabel() {
				labels[label.GetName()] = true
			}
		}
		kind := strings.ToLower(family.GetType().String())
		seen[family.GetName()] = metric{kind, slices.Sorted(maps.Keys(labels))}
	}
	// A vector without children is registered and not gathered.
	for _, name := range described(t, m.Gatherer()) {
		if _, ok := seen[name]; !ok && strings.HasPrefix(name, "mirrord_") {
			t.Errorf("%s is registered, and this test does not make it show: count it once in gathered", name)
		}
	}
	return seen
}

// ask sends a request through the transport's decorator.
func ask(t *testing.T, m *telemetry.Metrics) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "body")
	}))
	defer server.Close()
	client := http.Client{Transport: m.Transport("docker.io", server.Client().Transport)}
	resp, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
}

var nameRE = regexp.MustCompile(`fqName: "([^"]+)"`)

// described returns the names of all that is registered.
func described(t *testing.T, g prometheus.Gatherer) []string {
	t.Helper()
	registry, ok := g.(prometheus.Collector)
	if !ok {
		t.Fatalf("%T does not tell what is registered", g)
	}
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		registry.Describe(descs)
	}()
	var names []string
	for desc := range descs {
		names = append(names, nameRE.FindStringSubmatch(desc.String())[1])
	}
	if len(names) == 0 {
		t.Fatal("nothing is registered")
	}
	return names
}

func TestMetricsTable(t *testing.T) {
	var want, got []string
	for name, m := range gathered(t) {
		if strings.HasPrefix(name, "mirrord_") {
			want = append(want, fmt.Sprintf("%s | %s | %s", name, m.kind, strings.Join(m.labels, ", ")))
		}
	}
	for _, line := range strings.Split(section(t, metricsPage, "metrics-table"), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.Contains(cells[1], "mirrord_") {
			continue
		}
		name, kind := trim(cells[1]), trim(cells[2])
		labels := strings.FieldsFunc(trim(cells[3]), func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(labels)
		got = append(got, fmt.Sprintf("%s | %s | %s", name, kind, strings.Join(labels, ", ")))
		if trim(cells[4]) == "" {
			t.Errorf("%s has no meaning", name)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table of metrics is not the code's (-code +docs):\n%s", diff)
	}
}

func trim(cell string) string { return strings.Trim(cell, " `") }

func TestViaTable(t *testing.T) {
	text := section(t, metricsPage, "via-table")
	for _, via := range []oci.Via{oci.Hit, oci.Revalidated, oci.Fill, oci.Stale, oci.Pass, oci.Known, oci.Shared, oci.Peer} {
		if !strings.Contains(text, "\n| `"+string(via)+"` |") {
			t.Errorf("docs/metrics.md does not explain %s", via)
		}
	}
}
