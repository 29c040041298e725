package telemetry_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mirrord/internal/telemetry"
)

// Counters that alerts watch are exported before their first event: a rate needs the
// zero.
func TestCountersStartAtZero(t *testing.T) {
	m := telemetry.NewMetrics("1.2.3")
	m.WatchFailures("docker.io")
	want := `
# HELP mirrord_clients_refused_total Requests and connections refused because their client was at a limit.
# TYPE mirrord_clients_refused_total counter
mirrord_clients_refused_total{limit="logins"} 0
mirrord_clients_refused_total{limit="max_connections"} 0
mirrord_clients_refused_total{limit="max_requests"} 0
mirrord_clients_refused_total{limit="per_client"} 0
mirrord_clients_refused_total{limit="requests_per_second"} 0
# HELP mirrord_failed_logins_total Logins of clients with a wrong password or token, by the method that was tried.
# TYPE mirrord_failed_logins_total counter
mirrord_failed_logins_total{method="htpasswd"} 0
mirrord_failed_logins_total{method="jwt"} 0
mirrord_failed_logins_total{method="tokens"} 0
# HELP mirrord_requests_total Requests from clients, by result; status is cut when the response was cut short, and 5xx when the content was temporarily unavailable, whatever status the client got.
# TYPE mirrord_requests_total counter
mirrord_requests_total{kind="blob",operation="get",status="5xx",upstream="docker.io",via="none"} 0
mirrord_requests_total{kind="blob",operation="head",status="5xx",upstream="docker.io",via="none"} 0
mirrord_requests_total{kind="manifest",operation="get",status="5xx",upstream="docker.io",via="none"} 0
mirrord_requests_total{kind="manifest",operation="head",status="5xx",upstream="docker.io",via="none"} 0
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want),
		"mirrord_requests_total", "mirrord_clients_refused_total", "mirrord_failed_logins_total"); err != nil {
		t.Error(err)
	}
}

// A disk that hangs delays a scrape by a second, and the next ones not at all; one that
// fails is left out.
func TestDiskFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := telemetry.NewMetrics("1.2.3")
		hang, err := make(chan struct{}), error(nil)
		m.WatchDisk(func() (int64, error) { <-hang; return 4096, err })
		count := func() int {
			n, err := testutil.GatherAndCount(m.Gatherer(), "mirrord_cache_disk_free_bytes")
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := count() + count(); n != 0 {
			t.Error("a disk that hangs has free bytes")
		}
		close(hang)
		synctest.Wait()
		if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(`
# HELP mirrord_cache_disk_free_bytes Bytes free on the file system of the cache; absent while it does not say.
# TYPE mirrord_cache_disk_free_bytes gauge
mirrord_cache_disk_free_bytes 4096
`), "mirrord_cache_disk_free_bytes"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		err = errors.New("read-only")
		if n := count(); n != 0 {
			t.Error("a disk that fails has free bytes")
		}
	})
}

// Of listeners with the same address the certificate that expires first is exported.
func TestCertificateMetrics(t *testing.T) {
	m := telemetry.NewMetrics("1.2.3")
	m.WatchCertificates(func() []telemetry.Validity {
		return []telemetry.Validity{
			{Listen: ":443", From: time.Unix(1000, 0), Until: time.Unix(9000, 0)},
			{Listen: ":0", From: time.Unix(0, 0), Until: time.Unix(8000, 0)},
			{Listen: ":0", From: time.Unix(0, 0), Until: time.Unix(5000, 0)},
		}
	})
	want := `
# HELP mirrord_certificate_expiry_timestamp_seconds When the certificate of the listener expires.
# TYPE mirrord_certificate_expiry_timestamp_seconds gauge
mirrord_certificate_expiry_timestamp_seconds{listen=":0"} 5000
mirrord_certificate_expiry_timestamp_seconds{listen=":443"} 9000
# HELP mirrord_certificate_lifetime_seconds For how long the certificate of the listener is valid altogether.
# TYPE mirrord_certificate_lifetime_seconds gauge
mirrord_certificate_lifetime_seconds{listen=":0"} 5000
mirrord_certificate_lifetime_seconds{listen=":443"} 8000
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want),
		"mirrord_certificate_expiry_timestamp_seconds", "mirrord_certificate_lifetime_seconds"); err != nil {
		t.Error(err)
	}
}
