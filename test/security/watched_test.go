package security

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"mirrord/internal/admin"
	"mirrord/internal/proxy"
	"mirrord/internal/ratelimit"
	"mirrord/internal/route"
	"mirrord/internal/stack"
	"mirrord/internal/telemetry"
	"mirrord/test/mirrortest"
)

// watched is a mirror with everything that tells of it: its log with all levels, its
// metrics, its admin API, and what clients are sent.
type watched struct {
	t       *testing.T
	handler http.Handler
	admin   http.Handler
	flush   func() error // of the log

	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write takes the log.
func (w *watched) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(line)
}

func watch(t *testing.T, up ...stack.Upstream) *watched {
	t.Helper()
	w := &watched{t: t}
	log, flush := telemetry.NewLogger(w, zap.DebugLevel, "json")
	w.flush = flush
	metrics := telemetry.NewMetrics("test")
	var names []route.Upstream
	for i := range up {
		up[i].Transport = metrics.Transport(up[i].Name, up[i].Transport)
		up[i].Hooks.HostFails = func(host string, err error) { log.Sugar().Warnw("host fails", "host", host, "error", err) }
		up[i].Hooks.LoginFails = func(name string, err error, _ time.Time) {
			log.Sugar().Errorw("login fails", "credential", name, "error", err)
		}
		names = append(names, route.Upstream{Name: up[i].Name})
	}
	dir := t.TempDir()
	o := mirrortest.Options(t, dir, maxSize, up...)
	o.Ledger = ratelimit.NewLedger(nil)
	o.Health, o.Cache.Hooks, o.Tags.Hooks = telemetry.HealthHooks(log), telemetry.CacheHooks(log, metrics), telemetry.TagHooks(log, metrics)
	running, _ := mirrortest.Run(t, o)
	metrics.WatchQuota(o.Ledger.Budgets)
	access := telemetry.AccessLog(log, telemetry.AccessOptions{})
	w.handler = proxy.New(proxy.Options{Registry: running.Tags, Routes: route.NewTable(names...), Observe: func(r *http.Request, e proxy.Event) {
		metrics.Observe(r, e)
		access(r, e)
	}})
	w.admin = admin.New(admin.Options{
		Metrics: metrics.Handler(false), Cache: running.Cache, Health: running.Health, Pools: running.Pools, Dir: dir,
	}).Handler()
	return w
}

// get asks the mirror, and notes its response.
func (w *watched) get(method, target string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := get(w.t, w.handler, method, target, header...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.WriteString(target + "\n")
	check(w.t, r.Header().Write(&w.text))
	w.text.Write(r.Body.Bytes())
	return r
}

// wantUntold fails when a secret is in anything that tells of the mirror.
func (w *watched) wantUntold(secrets ...string) {
	w.t.Helper()
	check(w.t, w.flush())
	told := map[string]string{"log or a response": ""}
	for _, path := range []string{"/metrics", "/readyz", "/quota", "/verify"} {
		r := httptest.NewRecorder()
		w.admin.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil))
		if r.Code != http.StatusOK {
			w.t.Errorf("%s: status %d", path, r.Code)
		}
		told[path] = r.Body.String()
	}
	w.mu.Lock()
	told["log or a response"] = w.text.String()
	w.mu.Unlock()
	if !strings.Contains(told["log or a response"], `"msg":"request"`) || !strings.Contains(told["/metrics"], "mirrord_") {
		w.t.Error("nothing is told at all")
	}
	for where, text := range told {
		for _, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				w.t.Errorf("%s: …%s…", where, text[max(0, at-300):min(len(text), at+len(secret)+50)])
			}
		}
	}
}
