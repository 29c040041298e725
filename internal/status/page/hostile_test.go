package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mirrord/internal/status"
	"mirrord/internal/status/page/pagetest"
)

// Names come from clients and upstreams: none becomes markup.
func TestHostileNames(t *testing.T) {
	o := options()
	o.Status = func(*http.Request) status.Status {
		s := pagetest.Status(now)
		s.Version, s.Degraded = pagetest.Hostile, map[string]string{pagetest.Hostile: pagetest.Hostile}
		s.Warm[0].Name, s.Warm[0].Outcome = pagetest.Hostile, pagetest.Hostile
		s.Failing, s.Budgets[0].State = map[string]int{pagetest.Hostile: 1}, pagetest.Hostile
		return s
	}
	o.Connect = func(string) Connect {
		return Connect{[]string{pagetest.Hostile}, []Block{{pagetest.Hostile, []Step{{pagetest.Hostile, pagetest.Hostile}}}}}
	}
	page := get(t, o, "/").Body.String()
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("%d scripts, want that of the page", n)
	}
	for _, unwanted := range []string{"<img", `title="">`, "' onmouseover="} {
		if strings.Contains(page, unwanted) {
			t.Errorf("the page contains %s", unwanted)
		}
	}
}

// A browser runs nothing but the script of the mirror, and shows the page to nobody else.
func TestHeaders(t *testing.T) {
	for _, pattern := range Patterns() {
		path := strings.TrimSuffix(strings.TrimPrefix(pattern, "GET "), "{$}")
		w := get(t, options(), path)
		if w.Code != http.StatusOK {
			t.Errorf("%s: status %d", path, w.Code)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "no-referrer",
			"Cache-Control":           "no-store",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	for path, want := range map[string]string{"/": "text/html", "/status.css": "text/css", "/status.js": "text/javascript", "/icon.svg": "image/svg+xml"} {
		if got := get(t, options(), path).Header().Get("Content-Type"); !strings.HasPrefix(got, want) {
			t.Errorf("%s has type %q", path, got)
		}
	}
	for _, path := range []string{"/page.html", "/page.go", "/status.js/", "/../page.html"} {
		if w := get(t, options(), path); w.Code == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
}

// The host by which the page is asked for is in commands to copy.
func TestHostileHost(t *testing.T) {
	for host, want := range map[string]int{
		"mirror.example.com:5001": 200, "[::1]:5001": 200, "10.0.0.1": 200,
		"-oProxyCommand=x": 400, "a;b": 400, "$(b)": 400, "a'b": 400, "": 400,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		Handler(options()).ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%q: status %d, want %d", host, w.Code, want)
		}
		if local := strings.HasPrefix(host, "[::1]"); local != strings.Contains(w.Body.String(), "on other machines write") {
			t.Errorf("%q: the page says that others cannot use it: %v, want %v", host, !local, local)
		}
	}
}

// What is not there is unknown, and a mirror that has just started has a whole page.
func TestNothingYet(t *testing.T) {
	o := options()
	o.Status = func(*http.Request) status.Status { return status.Status{Version: "v1", Started: now, Now: now} }
	o.History = func() status.History { return status.History{} }
	w := get(t, o, "/")
	page := readable(w.Body.String())
	for _, want := range []string{"Hit ratio today – – of bytes", "Requests, last 24 hours nothing yet", "No upstream has reported a limit.", "0 B of 0 B –"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q:\n%.1500s", want, page)
		}
	}
	if busy := get(t, options(), "/").Body.String(); strings.Count(busy, "data-fresh") != strings.Count(w.Body.String(), "data-fresh") {
		t.Error("the charts of an idle mirror and of a busy one have different elements, so that the script cannot copy them")
	}
}

// Each spec has a value in a status: a path with a mistake would be unknown for ever.
func TestSpecs(t *testing.T) {
	s := pagetest.Status(now)
	s.Offline = true
	n, err := newNode(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range []string{"count today.hit", "bytes cache.max"} {
		if got, err := format(n, spec); err != nil || got != unknown {
			t.Errorf("%s: %q, %v", spec, got, err)
		}
	}
	for _, f := range figures {
		for _, spec := range f.Specs {
			if got, err := format(n, spec); err != nil || strings.HasPrefix(got, unknown) {
				t.Errorf("%s: %q, %v", spec, got, err)
			}
		}
	}
}

func TestFormats(t *testing.T) {
	const minute, hour, day = 60.0, 3600.0, 86400.0
	for _, test := range []struct {
		got, want string
	}{
		{count(nil), "–"}, {count(0.0), "0"}, {count(999.0), "999"}, {count(1000.0), "1,000"}, {count(1234567.0), "1,234,567"},
		{percent(0.0, 0.0), "–"}, {percent(nil, 3.0), "0.0 %"}, {percent(9999.0, 10000.0), "99.9 %"}, {percent(3.0, 3.0), "100.0 %"},
		{size(-1.0), "–"}, {size(1023.0), "1023 B"}, {size(1024.0), "1.00 KiB"}, {size(10.0 * 1024), "10.0 KiB"}, {size(1023.99 * 1024), "1023 KiB"}, {size(float64(5 << 40)), "5.00 TiB"},
		{seconds(nil), "–"}, {seconds(-5.0), "0 s"}, {seconds(59.9), "59 s"}, {seconds(9*minute + 59), "9 min 59 s"}, {seconds(10*minute + 59), "10 min"},
		{seconds(hour), "1 h"}, {seconds(day - 1), "23 h 59 min"}, {seconds(29*day + 23*hour), "29 d 23 h"}, {seconds(400 * day), "400 d"},
		{left(nil, nil), "no limit known"}, {left(3.0, 100.0), "3 of 100"}, {left(nil, 100.0), "unknown, of 100"},
		{part(3.0, 0.0), ""}, {part(5.0, 4.0), "1.000"}, {part(1.0, 3.0), "0.333"},
		{since(now, now.Add(-90*time.Second).Format(time.RFC3339Nano), " ago"), "1 min 30 s ago"}, {since(now, "0001-01-01T00:00:00Z", " ago"), "–"},
		{moment("2026-11-27T15:03:09.123+01:00"), "2026-11-27 15:03:09 +01:00"}, {moment("2026-11-27T15:03:09Z"), "2026-11-27 15:03:09 UTC"},
		{needs(5.0, 10.0, 0.0), ""}, {needs(5.0, -1.0, 3.0), ""}, {needs(10.0, 30.0, 2.0), "10 s left"},
	} {
		if got := strings.ReplaceAll(test.got, space, " "); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
