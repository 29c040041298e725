//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// panel is a query of a dashboard.
type panel struct{ title, expr string }

// panels returns the queries of both dashboards, as Grafana sends them for the last ten
// seconds of all mirrors.
func panels(t *testing.T) (all []panel) {
	t.Helper()
	variables := strings.NewReplacer("$__rate_interval", "10s", "$__range", "10m", "$job", ".*", "$instance", ".*", "$upstream", ".*")
	for _, name := range []string{"mirrord-overview.json", "mirrord-upstreams.json"} {
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal([]byte(readFile(t, "dashboards", name)), &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				all = append(all, panel{p.Title, variables.Replace(target.Expr)})
			}
		}
	}
	if len(all) == 0 {
		t.Fatal("the dashboards have no panels")
	}
	return all
}

// alertExpressions returns the expressions of all alerts, by name.
func alertExpressions(t *testing.T) map[string]string {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "dashboards", "alerts.yml")), &file); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			all[rule.Alert] = rule.Expr
		}
	}
	return all
}

// observed evaluates everything: each panel has a value and none is NaN, and the alerts
// with a value are those that should fire. It returns the sum of the values of the first
// panel of each title.
func (p *prometheus) observed(t *testing.T, state string, firing ...string) map[string]float64 {
	t.Helper()
	values := make(map[string]float64)
	for _, panel := range panels(t) {
		samples := p.query(t, panel.expr)
		sum := 0.0
		for _, s := range samples {
			sum += s.value
		}
		if len(samples) == 0 || math.IsNaN(sum) || math.IsInf(sum, 0) {
			t.Errorf("%s: panel %q shows %v: %s", state, panel.title, samples, panel.expr)
		}
		if _, ok := values[panel.title]; !ok {
			values[panel.title] = sum
		}
	}
	for alert, expr := range alertExpressions(t) {
		if samples := p.query(t, expr); (len(samples) > 0) != slices.Contains(firing, alert) {
			t.Errorf("%s: %s has %v", state, alert, samples)
		}
	}
	return values
}

// underLoad has a value once hits, saved pulls and bytes are seen to rise, and recorded.
const underLoad = `sum(increase(mirrord_requests_total{via="hit"}[10m])) > 20
	and on () sum(increase(mirrord_pulls_saved_total[10m])) > 5
	and on () sum(rate(mirrord_response_bytes_total{kind="blob"}[10s])) > 0
	and on () sum(job_instance_upstream:mirrord_content_hit_bytes:rate1h) > 0`

// Every panel and alert has the value that it should while a mirror is idle, busy, and
// without its upstream; the alertmanager is told when the mirror is down.
func TestDashboards(t *testing.T) {
	hub := startLimited(t, 100)
	m := startMirror(t, hub)
	p := startPrometheus(t, m)
	p.await(t, `count_over_time(up{job="mirrord"}[1m]) > 5`)
	p.await(t, `job_instance_upstream:mirrord_pulls_saved:rate1h == 0`)
	idle := p.observed(t, "idle")
	want(t, "idle", idle, map[string]float64{"Mirrors that respond": 1, "Alerts": 0, "Pull budget left": 1, "Failed requests": 0, "Pulls saved": 0, "Hit ratio, requests": 0})

	img := publishLayers(t, hub, 8, 256<<10)
	eventually(t, readyWithin, "prometheus sees the load", func() bool {
		m.pull(t, img)
		return len(p.query(t, underLoad)) > 0
	})
	busy := p.observed(t, "busy")
	want(t, "busy", busy, map[string]float64{"Mirrors that respond": 1, "Alerts": 0, "Pull budget left": 0.99, "Failed requests": 0, "Failing hosts": 0})
	for _, title := range []string{"Hit ratio, requests", "Hit ratio, bytes", "Pulls saved", "Traffic saved", "Cache full", "Bytes to clients", "Response time, blobs", "Hit ratio of the last hour"} {
		if busy[title] <= 0 {
			t.Errorf("busy: panel %q shows %v", title, busy[title])
		}
	}

	hub.Down()
	eventually(t, readyWithin, "the upstream is cut off", func() bool {
		for i := range 3 { // of several paths
			if _, ok := fetch(t, fmt.Sprintf("%s/v2/library/new%d/manifests/latest", m.url(), i)); ok {
				t.Fatal("an image came from nowhere")
			}
		}
		return len(p.query(t, `mirrord_upstream_hosts_failing > 0`)) > 0
	})
	m.pull(t, img)
	p.await(t, `sum(mirrord_stale_answers_total) > 0 and on () sum(increase(mirrord_requests_total{status="5xx"}[15m])) >= 2`)
	down := p.observed(t, "upstream down", "MirrordUpstreamDown", "MirrordPullsFail", "MirrordServesStale")
	for _, title := range []string{"Failing hosts", "Failed requests", "Hit ratio, requests", "Failed responses"} {
		if down[title] <= 0 {
			t.Errorf("upstream down: panel %q shows %v", title, down[title])
		}
	}
	for _, alert := range []string{"MirrordUpstreamDown", "MirrordPullsFail", "MirrordServesStale"} {
		p.awaitAlert(t, alert)
	}

	m.process.kill()
	if runbook := p.awaitAlert(t, "MirrordDown"); !strings.HasSuffix(runbook, "docs/troubleshooting.md#mirrorddown") {
		t.Errorf("the runbook of MirrordDown is %q", runbook)
	}
	mirrors := panels(t)[0]
	if got := p.query(t, mirrors.expr); mirrors.title != "Mirrors that respond" || len(got) != 1 || got[0].value != 0 {
		t.Errorf("panel %q shows %v while the mirror is down", mirrors.title, got)
	}
}

// want compares the values of panels.
func want(t *testing.T, state string, got, want map[string]float64) {
	t.Helper()
	for title, value := range want {
		if v, ok := got[title]; !ok || v != value {
			t.Errorf("%s: panel %q shows %v, want %v", state, title, v, value)
		}
	}
}

// pull fetches an image as a client does that has none of it.
func (m *mirror) pull(t *testing.T, img image) {
	t.Helper()
	const repository = "/v2/library/layers/"
	paths := []string{"manifests/v1"}
	for _, blob := range img.blobs {
		paths = append(paths, "blobs/"+blob)
	}
	for _, path := range paths {
		if _, ok := fetch(t, m.url()+repository+path); !ok {
			t.Fatalf("no %s", path)
		}
	}
}

// What the mirror exports holds to the conventions of Prometheus.
func TestMetricsFormat(t *testing.T) {
	m := startMirror(t, startHub(t))
	answer, err := http.Get("http://" + m.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = answer.Body
	if out, err := check.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
