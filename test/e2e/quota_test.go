//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The hub allows five pulls, the clients pull twelve images. Cached images can still be
// pulled when the quota is used up, a moved tag is served as its stale copy rather than
// for the last pull, and new images are refused immediately with the reason. The hub
// gets no pointless requests.
func TestQuota(t *testing.T) {
	const limit = 5
	hub := startLimited(t, limit)
	m := startMirror(t, hub)
	podman, docker := newPodman(t, debian12, m.address), newDockerd(t, debian12, graphDriver, m.address)
	images := make([]image, 12)
	for i := range images {
		images[i] = publishOne(t, hub, fmt.Sprint("image", i), uint64(i+1))
	}

	// Each image is one manifest, so one pull: four are spent, one is left, and
	// that is the reserve of 10 %, rounded up.
	pullAll(t, podman, images[0:2])
	pullAll(t, docker, images[2:4])
	m.wantBudget(t, limit, 1)

	time.Sleep(tagsFresh + tagsFresh/10) // the daemon wants to ask about the tags
	publishOne(t, hub, "image0", 100)    // the tag has moved
	resp := m.get(t, "/v2/library/image0/manifests/v1")
	if via := resp.Header.Get("X-Mirrord-Cache"); resp.StatusCode != http.StatusOK || via != "stale" ||
		!strings.HasPrefix(resp.Header.Get("Warning"), "110 ") || resp.Header.Get("Age") == "" {
		t.Errorf("moved tag: %s, via %s, %v", resp.Status, via, resp.Header)
	}
	pullAll(t, podman, images[0:1]) // the stale copy, complete

	pullAll(t, podman, images[4:5]) // never seen: it has the last pull
	m.wantBudget(t, limit, 0)
	for _, img := range images[5:7] {
		if podman.pull(img.ref) == nil || docker.pull(img.ref) == nil {
			t.Errorf("%s was pulled although the quota is used up", img.ref)
		}
	}
	for i := 5; i < len(images); i++ {
		m.wantRefusal(t, fmt.Sprintf("/v2/library/image%d/manifests/v1", i), limit)
	}
	for _, c := range []client{podman, docker} {
		pullAll(t, c, images[0:5])
	}
	n := hub.Counters()
	for request, times := range n.RefusedByRequest {
		if times > 1 {
			t.Errorf("the hub refused %s %d times", request, times)
		}
	}
	if n.ManifestGETs != limit || n.Refused > 2 {
		t.Errorf("the hub counted %d pulls and refused %d requests, want %d and hardly any", n.ManifestGETs, n.Refused, limit)
	}
}

// get sends a GET to the mirror and closes the body.
func (m *mirror) get(t *testing.T, path string) *http.Response {
	t.Helper()
	resp, err := http.Get(m.url() + path)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// wantRefusal checks for an immediate error of the spec with a helpful message.
func (m *mirror) wantRefusal(t *testing.T, path string, limit int) {
	t.Helper()
	begun := time.Now()
	resp, err := http.Get(m.url() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("%s: refused after %s", path, took)
	}
	var refusal struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(raw, &refusal); err != nil || resp.StatusCode != http.StatusServiceUnavailable ||
		len(refusal.Errors) != 1 || refusal.Errors[0].Code != "TOOMANYREQUESTS" || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("%s: %s %s", path, resp.Status, raw)
	}
	for _, words := range []string{"docker.io limits pulls", fmt.Sprint(limit, " in 6h0m0s"), "until 20", "wait, or give the mirror a login"} {
		if !strings.Contains(refusal.Errors[0].Message, words) {
			t.Errorf("%s: %q does not say %q", path, refusal.Errors[0].Message, words)
		}
	}
}

// wantBudget checks the output of mirrord quota.
func (m *mirror) wantBudget(t *testing.T, limit, left int) {
	t.Helper()
	raw, err := exec.Command(program, "quota", "--admin-listen", m.admin, "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var budgets []struct{ Limit, Remaining int }
	if err := json.Unmarshal(raw, &budgets); err != nil || len(budgets) != 1 || budgets[0].Limit != limit || budgets[0].Remaining != left {
		t.Errorf("mirrord quota says %s, want %d of %d", raw, left, limit)
	}
}
