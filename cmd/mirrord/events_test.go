package main

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mirrord/internal/config"
	"mirrord/internal/health"
	"mirrord/internal/notify"
	"mirrord/internal/oci"
)

// The page shows what is sent.
func TestEventsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/notify.md")
	if err != nil {
		t.Fatal(err)
	}
	reset := time.Date(2026, 11, 27, 8, 6, 45, 0, time.UTC)
	for _, data := range []any{
		quotaEvent{"docker.io", "default", 100, 9, &reset},
		hostEvent{"docker.io", "registry-1.docker.io", "it responded with 503 Service Unavailable"},
		hostEvent{Upstream: "docker.io", Host: "registry-1.docker.io"},
		partEvent{health.Disk, "no space left on device"},
		partEvent{Part: health.Disk},
		tagEvent{
			"docker.io/library/alpine:latest",
			oci.Digest("sha256:c09b4157dfde37bd0c9ffc9f13aa4e9e7e155953df29115db84cb017fd63b626"),
			oci.Digest("sha256:ed5cf278f2b783e670913cb1c4f8e4d71b37d1c698e6784c01ca91ff6dfcfa64"),
		},
	} {
		raw, err := json.Marshal(data)
		if err != nil || !strings.Contains(string(page), "`"+string(raw)+"`") {
			t.Errorf("docs/notify.md has no %s (%v)", raw, err)
		}
	}
	var names []string
	for _, event := range notify.Types {
		names = append(names, string(event))
	}
	for _, event := range append(names, string(notify.Test)) {
		if !strings.Contains(string(page), "| `"+event+"` |") {
			t.Errorf("docs/notify.md has no %s", event)
		}
	}
	if !slices.Equal(names, config.NotifyEvents) {
		t.Errorf("the configuration knows %v, not %v", config.NotifyEvents, names)
	}
}

// A webhook has the authorities of its own file, which is read when one is sent an event.
func TestWebhookAuthority(t *testing.T) {
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer receiver.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	webhooks := []config.Webhook{{Name: "own", URL: receiver.URL, CAFile: file}, {Name: "system", URL: receiver.URL}}
	if _, err := webhooksOf(&config.Config{Notify: webhooks}); err == nil || !strings.HasPrefix(err.Error(), "notify: own: ca_file: ") {
		t.Errorf("without the file: %v", err)
	}
	check(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: receiver.Certificate().Raw}), 0o600))
	targets, err := webhooksOf(&config.Config{Notify: webhooks})
	check(t, err)
	n := notify.New(notify.Options{Client: notify.NewClient(nil)})
	n.Set(targets)
	failed := make(map[string]bool)
	n.Test(t.Context(), n.Targets(), func(r notify.TestResult) { failed[r.Target] = r.Err != nil })
	if len(failed) != 2 || failed["own"] || !failed["system"] {
		t.Errorf("failed: %v", failed)
	}
}

func TestHealthEvents(t *testing.T) {
	n := notify.New(notify.Options{})
	n.Set([]notify.Target{{Name: "a", On: notify.Types}})
	var logged []health.Component
	hooks := notifyOfHealth(n, health.Hooks{
		Degraded:  func(c health.Component, _ error) { logged = append(logged, c) },
		Recovered: func(c health.Component) { logged = append(logged, c) },
	})
	hooks.Degraded(health.Disk, errors.New("full"))
	hooks.Recovered(health.Disk)
	if n.Stats()[0].Waiting != 2 || len(logged) != 2 {
		t.Errorf("%+v, logged %v", n.Stats(), logged)
	}
}
