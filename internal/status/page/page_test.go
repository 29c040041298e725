package page

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"mirrord/internal/status"
	"mirrord/internal/status/page/pagetest"
)

var now = time.Date(2026, 11, 27, 14, 3, 9, 123456789, time.UTC)

func options() Options {
	return Options{
		Status:  func(*http.Request) status.Status { return pagetest.Status(now) },
		History: func() status.History { return pagetest.History(now) },
		Socket:  "/run/mirrord/admin.sock",
		Connect: func(host string) Connect {
			return Connect{[]string{"Not from afar."}, []Block{{Client: "Docker", Steps: []Step{{"In daemon.json:", host}}}}}
		},
	}
}

func get(t *testing.T, o Options, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(o).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://mirror.example.com:5001"+path, nil))
	return w
}

// readable is what a person reads of a page.
func readable(page string) string {
	page = regexp.MustCompile(`(?s)<template>.*?</template>|<[^>]*>`).ReplaceAllString(page, " ")
	return strings.Join(strings.Fields(strings.ReplaceAll(page, space, " ")), " ")
}

func TestFigures(t *testing.T) {
	page := readable(get(t, options(), "/").Body.String())
	for _, want := range []string{
		"v1.4.0 , up 12 d 4 h since 2026-11-15 10:03:09 UTC",
		"disk does not work: write /var/cache/mirrord/fills/3f: no space left on device",
		"quay.io does not respond: 1 host",
		"Hit ratio today 94.0 % 92.2 % of bytes",
		"Pulls saved today 1,204 38,120 this month",
		"Bandwidth saved today 371 GiB 13.0 TiB this month",
		"docker.io ci-pulls 31 of 200 ok resets within 3 h 12 min",
		"812 GiB of 1.00 TiB 79.2 %",
		"Holds, at this rate 23 d 9 h",
		"Pinned, 7 images 12.0 GiB of 512 GiB",
		"42 of 42 images cached",
		"failed 9 h ago",
		"next in 15 h",
		"The bucket is left alone , failing since 7 min ago : get v1/pub/b/sha256/00: connection refused",
		"This mirror mirror-1 Secret wrong Read since the start 81.0 GiB Written since the start 12.0 GiB Uploads waiting 1,234 Leases held here – 95 % of reads within 25 ms 95 % of writes within 1,000 ms",
		"docker.io/pytorch/pytorch",
		"Connect a client Not from afar. Docker In daemon.json: mirror.example.com:5001 Copy",
		"1.78 GiB of 3.16 GiB 36.4 MiB/s 39 s left 4 waiters , for 48 s",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

// Without names the page has the figures, the kinds of errors, and how to see the rest.
func TestWithheldNames(t *testing.T) {
	o := options()
	o.Status = func(*http.Request) status.Status {
		s := pagetest.Status(now)
		s.Errors[2].Advice = "Check the name." // the mirror's own words
		s.Withhold()
		return s
	}
	page := get(t, o, "/").Body.String()
	for _, want := range []string{
		`<div class="pair" data-unless="names_withheld" hidden>`, `<div class="card hint" data-when="names_withheld">`,
		"<pre>ssh -N -L 5001:/run/mirrord/admin.sock mirror.example.com</pre>", "pull limit reached", "31 of 200",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	for _, unwanted := range []string{"pytorch", "rust", "library/node", "10.20.4.17", "ci-runner", "sha256:", "203.0.113.7", "owned"} {
		if strings.Contains(page, unwanted) {
			t.Errorf("the page has %q", unwanted)
		}
	}
	o.Socket = ""
	if page := get(t, o, "/").Body.String(); strings.Contains(page, "ssh ") || !strings.Contains(page, "which is off: see admin.socket") {
		t.Error("without a socket the page does not say so")
	}
}
