package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/telemetry"
)

func event(err error) proxy.Event {
	return proxy.Event{
		Operation: "get", Kind: "blob", Upstream: "docker.io", Repository: "library/alpine", Reference: "latest",
		Status: 200, Bytes: 1234, Duration: 1500 * time.Millisecond, Via: oci.Hit, Err: err,
	}
}

// logged returns what the access log writes for a request, parsed.
func logged(t *testing.T, r *http.Request, e proxy.Event) map[string]any {
	t.Helper()
	var out bytes.Buffer
	log, stop := telemetry.NewLogger(&out, zap.InfoLevel, "json")
	telemetry.AccessLog(log, telemetry.AccessOptions{})(r, e)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("more than a line: %q", out.String())
	}
	delete(line, "time")
	return line
}

func TestAccessLine(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	r.Header.Set("User-Agent", "docker/29")
	want := map[string]any{
		"level": "info", "msg": "request", "method": "GET", "kind": "blob", "upstream": "docker.io",
		"repository": "library/alpine", "reference": "latest", "status": 200.0, "bytes": 1234.0,
		"duration": 1.5, "via": "hit", "client": r.RemoteAddr, "agent": "docker/29",
	}
	if diff := cmp.Diff(want, logged(t, r, event(nil))); diff != "" {
		t.Error(diff)
	}
}

// Errors are always logged, and the rest as log.access and its sample say.
func TestAccessLogSelects(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	denied, limited, missing, cut := event(nil), event(nil), event(nil), event(errors.New("cut"))
	denied.Status, limited.Status, missing.Status, cut.Cut = 403, 429, 404, true
	events := []proxy.Event{event(nil), denied, event(nil), limited, missing, cut, event(oci.Errorf(oci.Unavailable, "down")), event(nil)}
	for o, want := range map[telemetry.AccessOptions]int{
		{}: 8, {Which: "all", Sample: 1}: 8, {Which: "all", Sample: 3}: 4 + 2, {Which: "errors"}: 4, {Which: "off"}: 0,
	} {
		core, lines := observer.New(zap.InfoLevel)
		observe := telemetry.AccessLog(zap.New(core), o)
		for _, e := range events {
			observe(r, e)
		}
		if lines.Len() != want {
			t.Errorf("%+v: %d lines, want %d", o, lines.Len(), want)
		}
	}
}

// The client is the one that a proxy names, not the connection's, and so is the user.
func TestAccessLineNamesTheClient(t *testing.T) {
	client := oci.Client{Address: netip.MustParseAddr("192.0.2.7"), Names: []string{"user:alice", "cert:CN=a"}}
	r := httptest.NewRequestWithContext(oci.WithClient(t.Context(), client), http.MethodGet, "/v2/", nil)
	r.Header.Set("Authorization", "Bearer secret")
	line := logged(t, r, event(nil))
	if line["client"] != "192.0.2.7" || line["user"] != "user:alice" {
		t.Errorf("client %v, user %v", line["client"], line["user"])
	}
	if text := fmt.Sprint(line); strings.Contains(text, "secret") {
		t.Errorf("a credential is logged: %s", text)
	}
}

func TestAccessLevels(t *testing.T) {
	gone, leave := context.WithCancel(t.Context())
	leave()
	for name, test := range map[string]struct {
		ctx   context.Context
		err   error
		level string
	}{
		"upstream's fault": {t.Context(), oci.Errorf(oci.Unavailable, "down"), "warn"},
		"limit":            {t.Context(), &oci.LimitError{Upstream: "docker.io"}, "warn"},
		"not found":        {t.Context(), oci.Errorf(oci.ManifestUnknown, "no"), "info"},
		"client left":      {gone, context.Canceled, "info"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(test.ctx, http.MethodGet, "/v2/", nil)
			line := logged(t, r, event(test.err))
			if line["level"] != test.level {
				t.Errorf("level %v, want %s", line["level"], test.level)
			}
			if _, hasError := line["error"]; hasError == errors.Is(test.err, context.Canceled) {
				t.Errorf("error logged: %v", hasError)
			}
		})
	}
}

func TestLoggerWritesDurationsInSeconds(t *testing.T) {
	for _, format := range []string{"json", "console"} {
		var out bytes.Buffer
		log, stop := telemetry.NewLogger(&out, zap.InfoLevel, format)
		log.Info("request", zap.Duration("duration", 1500*time.Millisecond))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if want := regexp.MustCompile(`"duration": ?1\.5[,}]`); !want.MatchString(out.String()) {
			t.Errorf("%s: %q, want a duration of 1.5 seconds", format, out.String())
		}
	}
}

func TestLoggerRejectsUnknownLevel(t *testing.T) {
}
