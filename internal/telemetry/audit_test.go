package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"mirrord/internal/access"
	"mirrord/internal/oci"
	"mirrord/internal/telemetry"
)

// audit is an audit log with its surroundings.
type audit struct {
	*telemetry.Audit
	metrics *telemetry.Metrics
	errors  bytes.Buffer
	stopLog func() error
}

func openAudit(t *testing.T, file string) *audit {
	t.Helper()
	a := &audit{metrics: telemetry.NewMetrics("1")}
	log, stop := telemetry.NewLogger(&a.errors, zap.InfoLevel, "json")
	a.stopLog = stop
	var err error
	if a.Audit, err = telemetry.OpenAudit(file, log, a.metrics); err != nil {
		t.Fatal(err)
	}
	return a
}

// flush writes what is queued, as at the end of the daemon.
func (a *audit) flush(t *testing.T) {
	t.Helper()
	over, end := context.WithCancel(t.Context())
	end()
	if err := a.Run(over); err != nil {
		t.Fatal(err)
	}
}

func (a *audit) lost(t *testing.T, want string) {
	t.Helper()
	text := "# HELP mirrord_audit_lost_total Lines of the audit log that could not be written.\n# TYPE mirrord_audit_lost_total counter\nmirrord_audit_lost_total " + want + "\n"
	if err := testutil.GatherAndCompare(a.metrics.Gatherer(), strings.NewReader(text), "mirrord_audit_lost_total"); err != nil {
		t.Error(err)
	}
}

var (
	build   = oci.Client{Address: netip.MustParseAddr("10.9.0.1"), Names: []string{"cert:CN=build", "cert:dns:build"}}
	refused = access.Refusal{
		Client: build, Rule: "access.rules[2]", DryRun: true, Upstream: "docker.io", Repository: "library/x", Reference: "latest", Err: errors.New("too \"young\"\nfor this"),
	}
)

// auditLines returns the lines of a file, without the time that each must have.
func auditLines(t *testing.T, file string) (all []map[string]any) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return jsonLines(t, string(raw))
}

// jsonLines returns the lines of a text, without the time that each must have.
func jsonLines(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["time"] == nil {
			t.Fatalf("%q: %v", line, err)
		}
		delete(fields, "time")
		all = append(all, fields)
	}
	return all
}

func TestAudit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	a := openAudit(t, file)
	telemetry.Refused(zap.NewNop(), a.metrics, a.Audit)(t.Context(), refused)
	telemetry.LoginFailed(zap.NewNop(), a.metrics, a.Audit)(access.LoginFailure{
		Client: oci.Client{Address: netip.MustParseAddr("192.0.2.7")}, Method: access.Htpasswd, User: "alice", Err: errors.New("wrong password"),
	})
	a.flush(t)
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	a.Refused(access.Refusal{Rule: "clients.deny", Err: errors.New("no")})
	a.flush(t) // to the renamed file
	a.Reopen()
	a.Refused(access.Refusal{Rule: "clients.allow", Err: errors.New("no")})
	a.flush(t)

	if diff := cmp.Diff([]map[string]any{
		{"event": "refused", "client": "10.9.0.1", "user": "cert:CN=build", "rule": "access.rules[2]", "dry_run": true, "upstream": "docker.io", "repository": "library/x", "reference": "latest", "reason": "too \"young\"\nfor this"},
		{"event": "login_failed", "client": "192.0.2.7", "user": "alice", "method": "htpasswd", "reason": "wrong password"},
		{"event": "refused", "rule": "clients.deny", "reason": "no"},
	}, auditLines(t, file+".1")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]map[string]any{{"event": "refused", "rule": "clients.allow", "reason": "no"}}, auditLines(t, file)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	a.lost(t, "0")
}

// A log that cannot be written, or not as fast, is counted and logged once.
func TestAuditFails(t *testing.T) {
	a := openAudit(t, "/dev/full")
	for range 3 {
		a.Refused(refused)
	}
	a.flush(t)
	a.lost(t, "3")
	for range 5000 {
		a.Refused(refused)
	}
	a.lost(t, "907") // 4096 wait
	if err := a.stopLog(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(a.errors.String(), "audit log cannot be written"); n != 1 {
		t.Errorf("logged %d times: %s", n, &a.errors)
	}
}

// A file that cannot be opened again is written on, and one that cannot be opened at all
// is an error.
func TestAuditReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	a := openAudit(t, filepath.Join(dir, "audit.jsonl"))
	if err := os.Rename(dir, dir+".1"); err != nil {
		t.Fatal(err)
	}
	a.Reopen()
	a.Refused(refused)
	a.flush(t)
	if lines := auditLines(t, filepath.Join(dir+".1", "audit.jsonl")); len(lines) != 1 {
		t.Errorf("%d lines", len(lines))
	}
	if _, err := telemetry.OpenAudit(filepath.Join(dir, "audit.jsonl"), zap.NewNop(), a.metrics); err == nil {
		t.Error("a file in no directory is open")
	}
}

// Without a file nothing is written.
func TestNoAudit(t *testing.T) {
	a, err := telemetry.OpenAudit("", zap.NewNop(), telemetry.NewMetrics("1"))
	if a != nil || err != nil {
		t.Fatal(a, err)
	}
	a.Refused(refused)
	a.LoginFailed(access.LoginFailure{})
	a.Reopen()
	if err := a.Run(t.Context()); err != nil {
		t.Error(err)
	}
}
