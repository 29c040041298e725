//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"mirrord/internal/status"
	"mirrord/internal/status/page"
	"mirrord/internal/status/page/pagetest"
)

// served is the page of a busy mirror.
type served struct {
	server  *httptest.Server
	address string
	now     time.Time
	events  chan status.Status
	young   atomic.Bool // it has no history
}

func servePage(t *testing.T) *served {
	t.Helper()
	p := &served{now: time.Now().UTC(), events: make(chan status.Status)}
	mux := http.NewServeMux()
	mux.Handle("/", page.Handler(page.Options{
		Status:  func(*http.Request) status.Status { return pagetest.Status(p.now) },
		History: p.history,
		Connect: func(host string) page.Connect { return page.Connect{Blocks: blocks(host)} },
	}))
	mux.HandleFunc("GET /v1/live", p.live)
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	t.Cleanup(p.server.CloseClientConnections)
	p.address = p.server.URL + "/"
	return p
}

func (p *served) history() status.History {
	if p.young.Load() {
		return status.History{}
	}
	return pagetest.History(p.now)
}

func (p *served) live(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		_ = http.NewResponseController(w).Flush()
		select {
		case s := <-p.events:
			raw, _ := json.Marshal(s)
			_, _ = fmt.Fprintf(w, "data: %s\n\n", raw)
		case <-r.Context().Done():
			return
		}
	}
}

// send sends a status to the page.
func (p *served) send(t *testing.T, s status.Status) {
	t.Helper()
	select {
	case p.events <- s:
	case <-time.After(20 * time.Second):
		t.Fatal("the page does not ask for events")
	}
}

// The page is readable, without a barrier, and loads nothing from elsewhere, on a phone and
// on a screen, by day and by night.
func TestPageLooks(t *testing.T) {
	for _, l := range []look{{width: 360}, {width: 360, dark: true}, {width: 1280}, {width: 1280, dark: true}} {
		t.Run(l.String(), func(t *testing.T) {
			p := servePage(t)
			for _, part := range []string{"status", "connect"} {
				b := openTab(t, p.address+"#"+part, l)
				if n := eval[int64](t, b, "document.documentElement.scrollWidth"); n > l.width {
					t.Errorf("%s is %d wide", part, n)
				}
				b.screenshot(t, part+"-"+l.String())
				b.accessible(t)
				b.calm(t, p.address)
			}
		})
	}
}

// blocks configure two clients.
func blocks(host string) []page.Block {
	return []page.Block{
		{Client: "docker", Steps: []page.Step{
			{Text: "Add to /etc/docker/daemon.json:", Code: fmt.Sprintf("{\n  \"registry-mirrors\": [%q]\n}", "http://"+host)},
			{Text: "Then:", Code: "systemctl reload docker"},
		}},
		{Client: "podman", Steps: []page.Step{
			{Text: "Write /etc/containers/registries.conf.d/mirror.conf:", Code: fmt.Sprintf("[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\n[[registry.mirror]]\nlocation = %q\ninsecure = true", host)},
		}},
	}
}
