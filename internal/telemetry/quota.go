package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
)

// WatchQuota exports the limits that the upstreams report, from their first report
// until the window ends; a missing metric means that no limit is known. budgets is
// called at each scrape, possibly concurrently.
func (m *Metrics) WatchQuota(budgets func() []ratelimit.Budget) {
	m.registry.MustRegister(quotaCollector(budgets))
}

type quotaCollector func() []ratelimit.Budget

func quotaDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mirrord_"+name, help, append([]string{"upstream", "credential"}, labels...), nil)
}

var (
	quotaLimit     = quotaDesc("upstream_quota_limit", "Manifest GETs that the upstream allows in a window; absent when it reports no limit.")
	quotaRemaining = quotaDesc("upstream_quota_remaining", "Manifest GETs left in the upstream's window; absent when it reports no limit.")
	quotaWindow    = quotaDesc("upstream_quota_window_seconds", "Length of the upstream's window; absent when it reports none.")
	quotaWait      = quotaDesc("upstream_wait_seconds", "Time until the next request is sent: a manifest GET for kind pulls, any request for kind requests; 0 means now.", "kind")
	quotaLimited   = quotaDesc("upstream_limited_total", "429 responses, by what the upstream limits.", "kind")
	pullsSpent     = quotaDesc("pulls_spent_total", "Manifest GETs that the upstream has answered with a manifest (200).")
)

func (c quotaCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{quotaLimit, quotaRemaining, quotaWindow, quotaWait, quotaLimited, pullsSpent} {
		out <- desc
	}
}

func (c quotaCollector) Collect(out chan<- prometheus.Metric) {
	for _, b := range c() {
		gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
			labels = append([]string{b.Upstream, b.Credential}, labels...)
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
		}
		if b.Known() {
			gauge(quotaLimit, float64(b.Limit))
			gauge(quotaRemaining, float64(b.Remaining))
		}
		if b.Window > 0 {
			gauge(quotaWindow, b.Window.Seconds())
		}
		gauge(quotaWait, wait(b.PullsAt, b.RequestsAt), string(oci.LimitPulls))
		gauge(quotaWait, wait(b.RequestsAt), string(oci.LimitRequests))
		for _, kind := range []oci.LimitKind{oci.LimitPulls, oci.LimitRequests} {
			out <- prometheus.MustNewConstMetric(quotaLimited, prometheus.CounterValue, float64(b.Limited[kind]), b.Upstream, b.Credential, string(kind))
		}
		out <- prometheus.MustNewConstMetric(pullsSpent, prometheus.CounterValue, float64(b.Spent), b.Upstream, b.Credential)
	}
}

// wait returns the seconds until the last of the moments.
func wait(moments ...time.Time) float64 {
	var longest time.Duration
	for _, at := range moments {
		longest = max(longest, time.Until(at))
	}
	return longest.Seconds()
}

// Login says whether a credential is in use.
type Login struct {
	Upstream, Credential string
	Usable               bool
}

// WatchLogins exports which credentials are in use and which are disabled. logins is
// called at each scrape, possibly concurrently.
func (m *Metrics) WatchLogins(logins func() []Login) {
	m.registry.MustRegister(loginCollector(logins))
}

type loginCollector func() []Login

var loginUsable = quotaDesc("upstream_login_usable", "1 while the credential is in use, 0 while it is disabled because its login failed.")

func (c loginCollector) Describe(out chan<- *prometheus.Desc) { out <- loginUsable }

func (c loginCollector) Collect(out chan<- prometheus.Metric) {
	for _, l := range c() {
		usable := 0.0
		if l.Usable {
			usable = 1
		}
		out <- prometheus.MustNewConstMetric(loginUsable, prometheus.GaugeValue, usable, l.Upstream, l.Credential)
	}
}
