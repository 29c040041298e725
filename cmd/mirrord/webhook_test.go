package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/hubsim"
)

// received is an event as a receiver has it.
type received struct {
	Type    string         `json:"type"`
	Subject string         `json:"subject"`
	Data    map[string]any `json:"data"`
}

// tellHook returns a flag by which a mirror sends a new receiver all events.
func (p *process) tellHook(t *testing.T) (*hook, string) {
	t.Helper()
	h := newHook()
	t.Cleanup(h.Close)
	file := filepath.Join(p.home, "mirrord.yaml")
	check(t, os.WriteFile(file, []byte("notify: [{name: ops, url: '"+h.URL+"', on: [quota_low, quota_gone, degraded, recovered]}]\n"), 0o600))
	return h, "--config=" + file
}

// events returns what was accepted, in the order of arrival.
func (h *hook) events(t *testing.T) (all []received) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, body := range h.received {
		var event received
		check(t, json.Unmarshal([]byte(body), &event))
		all = append(all, event)
	}
	return all
}

// A webhook gets one event when the disk is full, however many downloads find that out, and
// one when it works again.
func TestDegradedEvents(t *testing.T) {
	m, c := newMirror(t), newCatalog(t)
	h, config := m.tellHook(t)
	dir := m.mount(t, 400)
	c.addLayers(t, "library/new", 3, 1<<20, 1)
	check(t, m.serve(config, c.upstream()))

	full := hog(t, dir, 600<<10)
	officeOf(t, c, m)
	check(t, m.poll("degraded", func() bool { return h.has("degraded") }))
	if h.has("recovered") {
		t.Error("it has recovered while the disk is full")
	}
	check(t, os.Remove(full))
	check(t, m.await(`mirrord_cache_degraded{part="disk"}`, "0"))
	check(t, m.end(terminate)) // which delivers what waits

	var disk []received
	for _, event := range h.events(t) {
		if event.Subject == "disk" { // the index may fail, too
			disk = append(disk, event)
		}
	}
	if len(disk) != 2 || disk[0].Type != "mirrord.degraded" || disk[1].Type != "mirrord.recovered" {
		t.Fatalf("%v", disk)
	}
	if why, _ := disk[0].Data["error"].(string); disk[0].Data["part"] != "disk" || why == "" {
		t.Errorf("degraded with %v", disk[0].Data)
	}
	if diff := cmp.Diff(map[string]any{"part": "disk"}, disk[1].Data); diff != "" {
		t.Errorf("recovered (-want +got):\n%s", diff)
	}
}

// A webhook gets one event when the last pull is spent, however many are refused after that.
func TestQuotaGoneEvent(t *testing.T) {
	hub, err := hubsim.Start(hubsim.Options{Limit: 2})
	check(t, err)
	defer hub.Close()
	for seed, name := range []string{"first:1", "second:1", "third:1"} {
		check(t, addImage(hub, name, "1", strconv.Itoa(seed)))
	}
	m := newMirror(t)
	h, config := m.tellHook(t)
	check(t, m.serve(config, "--upstream=name=docker.io,url="+hub.URL(), "--quota-reserve=0"))
	for i, name := range []string{"first", "second", "third", "third"} {
		p := puller{base: "http://" + m.mirror + "/v2/library/" + name}
		if err := p.pull("1"); (err == nil) != (i < 2) {
			t.Errorf("pull %d: %v", i, err)
		}
	}
	if hub.Counters().Refused == 0 {
		t.Error("the upstream has refused nothing")
	}
	check(t, m.poll("quota_gone", func() bool { return h.has("quota_gone") }))
	check(t, m.end(terminate))

	got := h.events(t)
	if len(got) != 1 || got[0].Type != "mirrord.quota_gone" || got[0].Subject != "docker.io/default" {
		t.Fatalf("%v", got)
	}
	want := map[string]any{"upstream": "docker.io", "credential": "default", "limit": 2.0, "remaining": 0.0, "reset_by": got[0].Data["reset_by"]}
	if diff := cmp.Diff(want, got[0].Data); diff != "" || want["reset_by"] == nil {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An event that a webhook has not accepted before a restart is delivered after it, and the
// same event once more after another one.
func TestQuotaEventOfRestart(t *testing.T) {
	hub, err := hubsim.Start(hubsim.Options{Limit: 1})
	check(t, err)
	defer hub.Close()
	check(t, addImage(hub, "first:1", "1", "1"))
	m := newMirror(t)
	h, config := m.tellHook(t)
	h.status = http.StatusServiceUnavailable
	flags := []string{config, "--upstream=name=docker.io,url=" + hub.URL(), "--quota-reserve=0"}
	check(t, m.serve(flags...))
	p := puller{base: "http://" + m.mirror + "/v2/library/first"}
	check(t, p.pull("1"))
	check(t, m.poll("an attempt", func() bool { return h.has("refused") }))
	check(t, m.end(terminate))
	h.mu.Lock()
	h.status = http.StatusNoContent
	h.mu.Unlock()
	for range 2 {
		check(t, m.serve(flags...))
		check(t, m.poll("quota_gone", func() bool { return h.has("quota_gone") }))
		check(t, m.end(terminate)) // which delivers what waits
	}
	if got := h.events(t); len(got) != 2 || h.received[0] != h.received[1] {
		t.Errorf("received %q", h.received)
	}
}
