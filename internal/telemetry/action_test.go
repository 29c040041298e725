package telemetry_test

import (
	"errors"
	"maps"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"mirrord/internal/telemetry"
)

var (
	rootUID = uint32(0)
	actions = []telemetry.Action{
		{UID: &rootUID, User: "root", Request: "POST /v1/warm?plan=false", List: "base", Images: []string{"alpine:3", "nginx:1"}, ImagesTotal: 30, Status: 200, Err: errors.New("28 of 30 not warmed")},
		{Address: netip.MustParseAddr("192.0.2.1"), Request: "DELETE /" + strings.Repeat("é", 1000), Status: 409, Err: errors.New(strings.Repeat("y", 2000))},
	}
	actionLines = []map[string]any{
		{"uid": 0., "user": "root", "action": "POST /v1/warm?plan=false", "list": "base", "images": []any{"alpine:3", "nginx:1"}, "images_total": 30., "status": 200., "error": "28 of 30 not warmed"},
		{"client": "192.0.2.1", "action": "DELETE /" + strings.Repeat("é", 124), "status": 409., "error": strings.Repeat("y", 1024)},
	}
)

// linesWith returns the lines of actions with more fields.
func linesWith(more map[string]any) (all []map[string]any) {
	for _, line := range actionLines {
		line = maps.Clone(line)
		maps.Copy(line, more)
		all = append(all, line)
	}
	return all
}

// A change by an admin is in the audit log, with who, what and how it ended, and not in the
// other one.
func TestAuditActions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	a := openAudit(t, file)
	core, logged := observer.New(zapcore.DebugLevel)
	acted := telemetry.Acted(zap.New(core), a.Audit)
	for _, action := range actions {
		acted(action)
	}
	a.flush(t)
	if diff := cmp.Diff(linesWith(map[string]any{"event": "admin"}), auditLines(t, file)); diff != "" {
		t.Error(diff)
	}
	if logged.Len() > 0 {
		t.Errorf("logged, too: %v", logged.All())
	}
}

// Without an audit log, a change by an admin is in the log.
func TestLoggedActions(t *testing.T) {
	var text strings.Builder
	log, stop := telemetry.NewLogger(&text, zap.InfoLevel, "json")
	acted := telemetry.Acted(log, nil)
	for _, action := range actions {
		acted(action)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(linesWith(map[string]any{"level": "info", "msg": "admin action"}), jsonLines(t, text.String())); diff != "" {
		t.Error(diff)
	}
}

// Someone who guesses the token does not fill the log.
func TestRefusedActions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zapcore.DebugLevel)
		acted := telemetry.Acted(zap.New(core), nil)
		for range 500 {
			acted(telemetry.Action{Request: "POST /v1/purge", Status: 401})
			acted(telemetry.Action{Request: "POST /v1/purge", Status: 403})
		}
		if n := logged.Len(); n != 10 {
			t.Errorf("%d lines of requests that were refused", n)
		}
		acted(telemetry.Action{Request: "POST /v1/purge", Status: 200})
		if last := logged.All()[logged.Len()-1]; last.ContextMap()["status"] != int64(200) {
			t.Errorf("an action is not logged after those that were refused: %v", last)
		}
	})
}
