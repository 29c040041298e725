package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mirrord/internal/access"
	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/ratelimit"
	"mirrord/internal/tags"
	"mirrord/internal/telemetry"
)

// All failed logins are counted, but someone who guesses does not fill the log.
func TestLoginFailures(t *testing.T) {
	var out bytes.Buffer
	log, stop := telemetry.NewLogger(&out, zap.InfoLevel, "json")
	m := telemetry.NewMetrics("1")
	observe := telemetry.LoginFailed(log, m, nil)
	for range 50 {
		observe(access.LoginFailure{Client: oci.Client{Address: netip.MustParseAddr("192.0.2.7")}, Method: access.Htpasswd, User: "alice", Err: errors.New("wrong")})
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 10 || !strings.Contains(lines[0], `"client":"192.0.2.7","method":"htpasswd","error":"wrong","user":"alice"`) {
		t.Errorf("%d lines, the first is %s", len(lines), lines[0])
	}
	want := "# HELP mirrord_failed_logins_total Logins of clients with a wrong password or token, by the method that was tried.\n" +
		"# TYPE mirrord_failed_logins_total counter\nmirrord_failed_logins_total{method=\"htpasswd\"} 50\n" +
		"mirrord_failed_logins_total{method=\"jwt\"} 0\nmirrord_failed_logins_total{method=\"tokens\"} 0\n"
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "mirrord_failed_logins_total"); err != nil {
		t.Error(err)
	}
}

func TestRequestMetrics(t *testing.T) {
	m := telemetry.NewMetrics("1.2.3")
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	m.Observe(r, event(nil))
	m.Observe(r, proxy.Event{Operation: "ping", Kind: "none", Status: 200})
	cut := event(errors.New("cut short"))
	cut.Cut, cut.Bytes = true, 1
	m.Observe(r, cut)
	refused := event(oci.Errorf(oci.Unavailable, "down")) // a blob: the client got 404
	refused.Status, refused.Via, refused.Bytes = 404, "", 0
	m.Observe(r, refused)
	left, leave := context.WithCancel(t.Context())
	leave()
	m.Observe(r.WithContext(left), refused)
	want := `
# HELP mirrord_requests_total Requests from clients, by result; status is cut when the response was cut short, and 5xx when the content was temporarily unavailable, whatever status the client got.
# TYPE mirrord_requests_total counter
mirrord_requests_total{kind="blob",operation="get",status="2xx",upstream="docker.io",via="hit"} 1
mirrord_requests_total{kind="blob",operation="get",status="4xx",upstream="docker.io",via="none"} 1
mirrord_requests_total{kind="blob",operation="get",status="5xx",upstream="docker.io",via="none"} 1
mirrord_requests_total{kind="blob",operation="get",status="cut",upstream="docker.io",via="hit"} 1
mirrord_requests_total{kind="none",operation="ping",status="2xx",upstream="",via="none"} 1
# HELP mirrord_response_bytes_total Bytes of response bodies sent to clients.
# TYPE mirrord_response_bytes_total counter
mirrord_response_bytes_total{kind="blob",upstream="docker.io",via="hit"} 1235
mirrord_response_bytes_total{kind="blob",upstream="docker.io",via="none"} 0
mirrord_response_bytes_total{kind="none",upstream="",via="none"} 0
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "mirrord_requests_total", "mirrord_response_bytes_total"); err != nil {
		t.Error(err)
	}
}

// What a limit of the mirror refuses is counted by its setting, and what one of the
// upstream refuses is not.
func TestLimitMetrics(t *testing.T) {
	m := telemetry.NewMetrics("1.2.3")
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	for _, kind := range []oci.LimitKind{oci.LimitInFlight, oci.LimitRate, oci.LimitRate, oci.LimitClient, oci.LimitLogins, oci.LimitPulls, oci.LimitRequests} {
		m.Observe(r, event(fmt.Errorf("list: %w", &oci.LimitError{Kind: kind})))
	}
	log, lines := observer.New(zap.WarnLevel)
	refused := telemetry.ConnectionRefused(zap.New(log), m)
	for range 3 {
		refused(oci.Client{Address: netip.MustParseAddr("192.0.2.7")}.Key())
	}
	if all := lines.All(); len(all) != 1 || fmt.Sprint(all[0].ContextMap()["client"]) != "192.0.2.7" {
		t.Errorf("three connections of a client were closed, and the log says: %v", all)
	}
	want := `
# HELP mirrord_clients_refused_total Requests and connections refused because their client was at a limit.
# TYPE mirrord_clients_refused_total counter
mirrord_clients_refused_total{limit="logins"} 1
mirrord_clients_refused_total{limit="max_connections"} 3
mirrord_clients_refused_total{limit="max_requests"} 1
mirrord_clients_refused_total{limit="per_client"} 1
mirrord_clients_refused_total{limit="requests_per_second"} 2
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "mirrord_clients_refused_total"); err != nil {
		t.Error(err)
	}
}

// slowly lets requests and responses wait, and refuses them.
type slowly struct{}

var errSlowly = errors.New("after a while")

func (slowly) Enter(context.Context) error     { time.Sleep(2 * time.Second); return errSlowly }
func (slowly) Leave(context.Context)           {}
func (slowly) Piece() int                      { return 7 }
func (slowly) Wait(context.Context, int) error { time.Sleep(3 * time.Second); return errSlowly }

func TestWaitMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := telemetry.NewMetrics("1.2.3")
		limiter, pacer := m.Limiter(slowly{}), m.Pacer(slowly{})
		for _, err := range []error{limiter.Enter(t.Context()), pacer.Wait(t.Context(), 1), pacer.Wait(t.Context(), 1)} {
			if !errors.Is(err, errSlowly) {
				t.Errorf("got %v", err)
			}
		}
		if n := pacer.Piece(); n != 7 {
			t.Errorf("a piece has %d bytes", n)
		}
		want := `
# HELP mirrord_clients_waited_seconds_total Time that requests and responses waited because their client was at a limit.
# TYPE mirrord_clients_waited_seconds_total counter
mirrord_clients_waited_seconds_total{limit="bandwidth"} 6
mirrord_clients_waited_seconds_total{limit="requests_per_second"} 2
`
		if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "mirrord_clients_waited_seconds_total"); err != nil {
			t.Error(err)
		}
	})
}

// roundTripper is a function that responds.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestUpstreamMetrics(t *testing.T) {
	m := telemetry.NewMetrics("1.2.3")
	answers := m.Transport("docker.io", roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusPartialContent, Body: io.NopCloser(strings.NewReader("12345"))}, nil
	}))
	limits := m.Transport("docker.io", roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusTooManyRequests, Body: http.NoBody}, nil
	}))
	fails := m.Transport("docker.io", roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("cut")
	}))
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	resp, err := answers.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if _, err := limits.RoundTrip(r); err != nil {
		t.Fatal(err)
	}
	if _, err := fails.RoundTrip(r); err == nil {
		t.Error("the error is lost")
	}
	m.Resumed("docker.io")()
	m.WatchHosts("docker.io", func() int { return 2 })
	m.WatchHosts("ghcr.io", func() int { return 0 })
	want := `
# HELP mirrord_upstream_body_resumes_total Downloads that broke off and were resumed where they stopped.
# TYPE mirrord_upstream_body_resumes_total counter
mirrord_upstream_body_resumes_total{upstream="docker.io"} 1
# HELP mirrord_upstream_hosts_failing Hosts of the upstream that have failed repeatedly and are sent only probes.
# TYPE mirrord_upstream_hosts_failing gauge
mirrord_upstream_hosts_failing{upstream="docker.io"} 2
mirrord_upstream_hosts_failing{upstream="ghcr.io"} 0
# HELP mirrord_upstream_received_bytes_total Bytes of response bodies received from the upstream.
# TYPE mirrord_upstream_received_bytes_total counter
mirrord_upstream_received_bytes_total{operation="other",upstream="docker.io"} 5
# HELP mirrord_upstream_requests_total Requests to the upstream, each hop of a redirect counted; status is 429 when the upstream limits, error when there was no response.
# TYPE mirrord_upstream_requests_total counter
mirrord_upstream_requests_total{operation="other",status="2xx",upstream="docker.io"} 1
mirrord_upstream_requests_total{operation="other",status="429",upstream="docker.io"} 1
mirrord_upstream_requests_total{operation="other",status="error",upstream="docker.io"} 1
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want),
		"mirrord_upstream_requests_total", "mirrord_upstream_received_bytes_total", "mirrord_upstream_body_resumes_total", "mirrord_upstream_hosts_failing"); err != nil {
		t.Error(err)
	}
}

// The metrics of a budget without a report are absent, not zero; counters are exported
// from the start.
func TestQuotaMetrics(t *testing.T) {
	m := telemetry.NewMetrics("1.2.3")
	var budget ratelimit.Budget
	m.WatchQuota(func() []ratelimit.Budget { return []ratelimit.Budget{budget} })
	names := []string{"mirrord_upstream_quota_limit", "mirrord_upstream_quota_remaining", "mirrord_upstream_quota_window_seconds"}
	if n, err := testutil.GatherAndCount(m.Gatherer(), names...); n != 0 || err != nil {
		t.Errorf("%d figures, %v, want none", n, err)
	}
	if n, err := testutil.GatherAndCount(m.Gatherer(), "mirrord_upstream_limited_total", "mirrord_upstream_wait_seconds", "mirrord_pulls_spent_total"); n != 5 || err != nil {
		t.Errorf("%d counters and waits, %v, want 5", n, err)
	}
	budget = ratelimit.Budget{
		Upstream: "docker.io", Credential: "office", Limit: 100, Remaining: -3, Window: time.Hour, Source: "192.0.2.7",
		Spent: 4, Limited: map[oci.LimitKind]int64{oci.LimitPulls: 2},
	}
	want := `
# HELP mirrord_pulls_spent_total Manifest GETs that the upstream has answered with a manifest (200).
# TYPE mirrord_pulls_spent_total counter
mirrord_pulls_spent_total{credential="office",upstream="docker.io"} 4
# HELP mirrord_upstream_limited_total 429 responses, by what the upstream limits.
# TYPE mirrord_upstream_limited_total counter
mirrord_upstream_limited_total{credential="office",kind="pulls",upstream="docker.io"} 2
mirrord_upstream_limited_total{credential="office",kind="requests",upstream="docker.io"} 0
# HELP mirrord_upstream_quota_remaining Manifest GETs left in the upstream's window; absent when it reports no limit.
# TYPE mirrord_upstream_quota_remaining gauge
mirrord_upstream_quota_remaining{credential="office",upstream="docker.io"} -3
# HELP mirrord_upstream_quota_window_seconds Length of the upstream's window; absent when it reports none.
# TYPE mirrord_upstream_quota_window_seconds gauge
mirrord_upstream_quota_window_seconds{credential="office",upstream="docker.io"} 3600
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want),
		"mirrord_upstream_quota_remaining", "mirrord_upstream_quota_window_seconds", "mirrord_pulls_spent_total", "mirrord_upstream_limited_total"); err != nil {
		t.Error(err)
	}
	budget.PullsAt = time.Now().Add(time.Hour)
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "mirrord_upstream_wait_seconds" {
			continue
		}
		for _, sample := range family.GetMetric() {
			pulls := sample.GetLabel()[1].GetValue() == "pulls"
			if waits := sample.GetGauge().GetValue() > 3500; waits != pulls {
				t.Errorf("wait %s", sample)
			}
		}
	}
	m.WatchLogins(func() []telemetry.Login {
		return []telemetry.Login{{"docker.io", "office", true}, {"docker.io", "old", false}}
	})
	want = `
# HELP mirrord_upstream_login_usable 1 while the credential is in use, 0 while it is disabled because its login failed.
# TYPE mirrord_upstream_login_usable gauge
mirrord_upstream_login_usable{credential="office",upstream="docker.io"} 1
mirrord_upstream_login_usable{credential="old",upstream="docker.io"} 0
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "mirrord_upstream_login_usable"); err != nil {
		t.Error(err)
	}
}

// Stale responses and tag checks export every reason and outcome, also those at zero.
func TestStaleMetrics(t *testing.T) {
	m := telemetry.NewMetrics("1.2.3")
	m.WatchCache(func() telemetry.Snapshot {
		return telemetry.Snapshot{
			Cache: cache.Stats{Saved: map[string]int64{"docker.io": 9}},
			Tags: tags.Stats{
				Stale:  map[oci.StaleReason]int64{oci.StaleReason(oci.LimitReserve): 3},
				Checks: map[tags.Outcome]int64{tags.Moved: 2},
			},
		}
	})
	want := `
# HELP mirrord_pulls_saved_total Manifests served to clients without a manifest GET to the upstream.
# TYPE mirrord_pulls_saved_total counter
mirrord_pulls_saved_total{upstream="docker.io"} 9
# HELP mirrord_stale_answers_total Stale copies of tags and lists served, by reason.
# TYPE mirrord_stale_answers_total counter
mirrord_stale_answers_total{reason="client"} 0
mirrord_stale_answers_total{reason="offline"} 0
mirrord_stale_answers_total{reason="pulls"} 0
mirrord_stale_answers_total{reason="refreshing"} 0
mirrord_stale_answers_total{reason="requests"} 0
mirrord_stale_answers_total{reason="reserve"} 3
mirrord_stale_answers_total{reason="slow"} 0
mirrord_stale_answers_total{reason="unavailable"} 0
# HELP mirrord_tag_checks_total Checks of tags with the upstream, by outcome.
# TYPE mirrord_tag_checks_total counter
mirrord_tag_checks_total{outcome="failed"} 0
mirrord_tag_checks_total{outcome="limited"} 0
mirrord_tag_checks_total{outcome="missing"} 0
mirrord_tag_checks_total{outcome="moved"} 2
mirrord_tag_checks_total{outcome="new"} 0
mirrord_tag_checks_total{outcome="same"} 0
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "mirrord_stale_answers_total", "mirrord_tag_checks_total", "mirrord_pulls_saved_total"); err != nil {
		t.Error(err)
	}
}

func TestCacheMetrics(t *testing.T) {
	m := telemetry.NewMetrics("1.2.3")
	m.WatchCache(func() telemetry.Snapshot {
		return telemetry.Snapshot{Cache: cache.Stats{Bytes: 7, Evictions: 2, Oldest: time.Minute}}
	})
	want := `
# HELP mirrord_cache_bytes Bytes of cached blobs.
# TYPE mirrord_cache_bytes gauge
mirrord_cache_bytes 7
# HELP mirrord_cache_evictions_total Blobs evicted to make space.
# TYPE mirrord_cache_evictions_total counter
mirrord_cache_evictions_total 2
# HELP mirrord_cache_oldest_age_seconds Time since the least recently used blob was last used.
# TYPE mirrord_cache_oldest_age_seconds gauge
mirrord_cache_oldest_age_seconds 60
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want),
		"mirrord_cache_bytes", "mirrord_cache_evictions_total", "mirrord_cache_oldest_age_seconds"); err != nil {
		t.Error(err)
	}
}
