package telemetry_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/fleetprobe"
	"mirrord/internal/fleet/guard"
	"mirrord/internal/telemetry"
)

// The figures of the status are those of the metrics.
func TestBucketFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := telemetry.NewMetrics("1.2.3")
		if got := m.BucketFigures(); got != (telemetry.BucketFigures{}) {
			t.Errorf("without a bucket: %+v", got)
		}
		memory := buckettest.NewMemory()
		puts := 0
		memory.Faults = func(op buckettest.Op, _ string) (f buckettest.Fault) {
			if puts++; op == buckettest.Put && puts > 95 {
				f.Before = 2 * time.Second
			}
			return buckettest.Fault{Before: f.Before + 20*time.Millisecond}
		}
		b := m.Bucket(memory)
		for range 100 {
			if _, err := b.Put(t.Context(), "key", []byte("0123456789"), bucket.Cond{}); err != nil {
				t.Fatal(err)
			}
		}
		want := telemetry.BucketFigures{BytesWritten: 1000, Writes: telemetry.Latency{Requests: 100, Most: 0.025}}
		if got := m.BucketFigures(); got != want {
			t.Errorf("figures %+v, want %+v", got, want)
		}
	})
}

func TestCapabilities(t *testing.T) {
	m := telemetry.NewMetrics("1.2.3")
	var found fleetprobe.State
	m.WatchProbe(func() fleetprobe.State { return found })
	found.Ages, found.SecretOK = true, true
	want := `
# HELP mirrord_fleet_capability 1 if the fleet's object store can do this, or for secret if this mirror has the fleet's; 0 if not, or not known yet.
# TYPE mirrord_fleet_capability gauge
mirrord_fleet_capability{capability="ages"} 1
mirrord_fleet_capability{capability="conditions"} 0
mirrord_fleet_capability{capability="secret"} 1
mirrord_fleet_capability{capability="touch"} 0
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "mirrord_fleet_capability"); err != nil {
		t.Error(err)
	}
	found.Secret = fleetprobe.ErrSecret
	want = `
# HELP mirrord_fleet_wrong_secret 1 while the fleet.secret_file of this mirror is not that of its fleet.
# TYPE mirrord_fleet_wrong_secret gauge
mirrord_fleet_wrong_secret 1
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "mirrord_fleet_wrong_secret"); err != nil {
		t.Error(err)
	}
}

// Leases that fail are a warning once, and a line when they work again, whatever parts of the
// bucket that is about.
func TestLeaseHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.InfoLevel)
		memory := buckettest.NewMemory()
		var fails atomic.Bool
		memory.Faults = func(buckettest.Op, string) buckettest.Fault {
			if fails.Load() {
				return buckettest.Fault{Before: time.Second, Err: errors.New("connection reset")}
			}
			return buckettest.Fault{}
		}
		b := guard.New(memory, telemetry.LeaseHooks(zap.New(core)))
		use := func() {
			for range 120 {
				_, _ = b.Put(t.Context(), "lease", nil, bucket.Cond{})
				if o, err := b.Get(t.Context(), "lease", 0, ""); err == nil {
					_, _ = io.Copy(io.Discard, o.Body)
				}
				time.Sleep(time.Second)
			}
		}
		for range 2 {
			for _, failing := range []bool{true, false} {
				fails.Store(failing)
				use()
			}
		}
		var levels []zapcore.Level
		for _, line := range logged.All() {
			levels = append(levels, line.Level)
		}
		if want := []zapcore.Level{zap.WarnLevel, zap.InfoLevel, zap.WarnLevel, zap.InfoLevel}; !slices.Equal(levels, want) {
			t.Errorf("levels %v, want %v", levels, want)
		}
	})
}
