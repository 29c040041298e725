//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// scrapedEvery is how often prometheus scrapes, and evaluates the rules.
const scrapedEvery = 200 * time.Millisecond

// prometheus is Debian's, with its alertmanager: it scrapes one mirror and has the rules
// of the directory dashboards, whose alerts need not last before they fire.
type prometheus struct {
	address      string
	alertmanager string
}

var lastsRE = regexp.MustCompile(`(?m)^( +(?:for|interval): )\d+[mh]$`)

// startPrometheus starts both. The job and the rules are those of
// dashboards/prometheus.yml, the addresses and intervals are the test's.
func startPrometheus(t *testing.T, m *mirror) *prometheus {
	t.Helper()
	h, p := newHome(t), &prometheus{address: freeAddress(t), alertmanager: freeAddress(t)}
	for _, name := range []string{"alerts.yml", "recording.yml"} {
		h.write(t, name, lastsRE.ReplaceAllString(readFile(t, "dashboards", name), "${1}1s"))
	}
	config := strings.NewReplacer("127.0.0.1:5001", m.admin, "127.0.0.1:9093", p.alertmanager, "30s", scrapedEvery.String()).
		Replace(readFile(t, "dashboards", "prometheus.yml"))
	receiver := "route: {receiver: office, group_wait: 0s}\nreceivers: [{name: office}]\n"
	h.start(t, "prometheus-alertmanager", "--config.file="+h.write(t, "alertmanager.yml", receiver),
		"--storage.path="+h.path("alertmanager"), "--web.listen-address="+p.alertmanager, "--cluster.listen-address=")
	server := h.start(t, "prometheus", "--config.file="+h.write(t, "prometheus.yml", config),
		"--storage.tsdb.path="+h.path("prometheus"), "--web.listen-address="+p.address)
	server.await(t, readyWithin, func() bool {
		answer, err := http.Get("http://" + p.address + "/-/ready")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return p
}

// sample is a value with its labels.
type sample struct {
	labels map[string]string
	value  float64
}

// query returns the current result of an expression.
func (p *prometheus) query(t *testing.T, expr string) (samples []sample) {
	t.Helper()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	get(t, "http://"+p.address+"/api/v1/query?"+url.Values{"query": {expr}}.Encode(), &answer)
	if answer.Error != "" {
		t.Fatalf("%s: %s", expr, answer.Error)
	}
	for _, result := range answer.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(result.Value[1]), 64)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		samples = append(samples, sample{result.Metric, value})
	}
	return samples
}

// await returns when an expression has a value.
func (p *prometheus) await(t *testing.T, expr string) {
	t.Helper()
	eventually(t, readyWithin, expr, func() bool { return len(p.query(t, expr)) > 0 })
}

// awaitAlert returns when the alertmanager has the alert, and what to read about it.
func (p *prometheus) awaitAlert(t *testing.T, name string) (runbook string) {
	t.Helper()
	eventually(t, readyWithin, "the alertmanager has "+name, func() bool {
		var alerts []struct{ Labels, Annotations map[string]string }
		get(t, "http://"+p.alertmanager+"/api/v2/alerts", &alerts)
		for _, alert := range alerts {
			if alert.Labels["alertname"] == name {
				runbook = alert.Annotations["runbook_url"]
				return true
			}
		}
		return false
	})
	return runbook
}

// get decodes the JSON at an address.
func get(t *testing.T, address string, into any) {
	t.Helper()
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
}

// readFile returns a file of the source.
func readFile(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
