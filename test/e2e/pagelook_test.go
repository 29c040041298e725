//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"mirrord/internal/status"
	"mirrord/internal/status/page"
	"mirrord/internal/status/page/pagetest"
)

// servePage serves the page of a busy mirror, and sends its status again whenever that is
// asked for on the returned channel.
func servePage(t *testing.T) (address string, events chan<- status.Status) {
	t.Helper()
	now := time.Now()
	sent := make(chan status.Status)
	mux := http.NewServeMux()
	mux.Handle("/", page.Handler(page.Options{
		Status:  func(*http.Request) status.Status { return pagetest.Status(now) },
		History: func() status.History { return pagetest.History(now) },
		Blocks:  func(host string) []page.Block { return nil },
	}))
	mux.HandleFunc("GET /v1/live", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			_ = http.NewResponseController(w).Flush()
			select {
			case s := <-sent:
				raw, _ := json.Marshal(s)
				_, _ = fmt.Fprintf(w, "data: %s\n\n", raw)
			case <-r.Context().Done():
				return
			}
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(server.Close)
	return server.URL + "/", sent
}

// The page is readable, without a barrier, and loads nothing from elsewhere, on a phone and
// on a screen, by day and by night.
func TestPageLooks(t *testing.T) {
	for _, l := range []look{{width: 360}, {width: 360, dark: true}, {width: 1280}, {width: 1280, dark: true}} {
		t.Run(l.String(), func(t *testing.T) {
			address, _ := servePage(t)
			b := openTab(t, address, l)
			if n := eval[int64](t, b, "document.documentElement.scrollWidth"); n > l.width {
				t.Errorf("the page is %d wide", n)
			}
			b.screenshot(t, "status-"+l.String())
			b.accessible(t)
			b.calm(t, address)
		})
	}
}
