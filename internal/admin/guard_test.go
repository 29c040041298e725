package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A web page in a browser on the mirror's host reaches nothing of the admin API,
// and those who run the mirror, and scrapers elsewhere, reach all of it.
func TestGuard(t *testing.T) {
	const loopback, lan = "127.0.0.1", "192.0.2.7"
	site := func(s string) http.Header { return http.Header{"Sec-Fetch-Site": {s}} }
	origin := func(s string) http.Header { return http.Header{"Origin": {s}} }
	for name, test := range map[string]struct {
		request, host, local string
		header               http.Header
		refused              bool
	}{
		"the command":                   {request: "POST /verify", host: "localhost", local: loopback},
		"curl":                          {request: "POST /verify", host: "127.0.0.1:5001", local: loopback},
		"curl, IPv6":                    {request: "POST /verify", host: "[::1]:5001", local: loopback},
		"curl from elsewhere":           {request: "POST /verify", host: "192.0.2.7:5001", local: lan},
		"by the name of admin.listen":   {request: "POST /verify", host: "Mirror.lan.:5001", local: lan},
		"without a port":                {request: "GET /metrics", host: "127.0.0.1", local: loopback},
		"a person's browser":            {request: "GET /debug/pprof/heap", host: "127.0.0.1:5001", local: loopback, header: site("none")},
		"links within":                  {request: "GET /debug/pprof/heap", host: "127.0.0.1:5001", local: loopback, header: site("same-origin")},
		"a scraper by any name":         {request: "GET /metrics", host: "mirrord.monitoring:5001", local: lan},
		"a link to the metrics":         {request: "GET /metrics", host: "127.0.0.1:5001", local: loopback, header: site("cross-site")},
		"a link to the page":            {request: "GET /", host: "127.0.0.1:5001", local: loopback, header: site("cross-site")},
		"the page":                      {request: "GET /v1/live", host: "127.0.0.1:5001", local: loopback, header: site("same-origin")},
		"the page in the network":       {request: "GET /v1/live", host: "mirrord.office:5001", local: lan},
		"the status, for another site":  {request: "GET /v1/live", host: "127.0.0.1:5001", local: loopback, header: site("cross-site"), refused: true},
		"pings, for another site":       {request: "GET /quota", host: "127.0.0.1:5001", local: loopback, header: site("cross-site"), refused: true},
		"pings, for another origin":     {request: "GET /quota", host: "mirrord.office:5001", local: lan, header: origin("http://evil.example"), refused: true},
		"another site":                  {request: "POST /verify", host: "127.0.0.1:5001", local: loopback, header: site("cross-site"), refused: true},
		"another port of this host":     {request: "POST /verify", host: "127.0.0.1:5001", local: loopback, header: site("same-site"), refused: true},
		"another origin":                {request: "POST /verify", host: "127.0.0.1:5001", local: loopback, header: origin("http://evil.example"), refused: true},
		"a page without an origin":      {request: "POST /verify", host: "127.0.0.1:5001", local: loopback, header: origin("null"), refused: true},
		"a profile for another site":    {request: "GET /debug/pprof/profile", host: "127.0.0.1:5001", local: loopback, header: site("cross-site"), refused: true},
		"rebound":                       {request: "POST /verify", host: "evil.example:5001", local: loopback, header: site("same-origin"), refused: true},
		"rebound, to read":              {request: "GET /quota", host: "evil.example:5001", local: loopback, header: site("same-origin"), refused: true},
		"rebound, from the network":     {request: "POST /verify", host: "evil.example:5001", local: lan, refused: true},
		"rebound, a profile":            {request: "GET /debug/pprof/heap", host: "evil.example:5001", local: lan, refused: true},
		"a name that ends like its own": {request: "POST /verify", host: "evil.mirror.lan:5001", local: lan, refused: true},
		"no name":                       {request: "POST /verify", host: "", local: loopback, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			var method, path string
			if _, err := fmt.Sscan(test.request, &method, &path); err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(method, path, nil)
			r.Host = test.host
			for key, values := range test.header {
				r.Header[key] = values
			}
			local := &net.TCPAddr{IP: net.ParseIP(test.local), Port: 5001}
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
			w := httptest.NewRecorder()
			guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != method {
					t.Errorf("the method is now %s", r.Method)
				}
			}), "mirror.lan:5001").ServeHTTP(w, r)
			if refused := w.Code == http.StatusForbidden; refused != test.refused {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}
