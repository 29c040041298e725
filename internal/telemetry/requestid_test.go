package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mirrord/internal/telemetry"
)

// An id that is fit for a log is taken over; else there is a new one each time.
func TestRequestIDs(t *testing.T) {
	for name, test := range map[string]struct {
		sent []string
		kept bool
	}{
		"none":     {nil, false},
		"uuid":     {[]string{"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}, true},
		"base64":   {[]string{"Root=1:aB_c.d+e/f="}, true},
		"two":      {[]string{"a", "b"}, false},
		"empty":    {[]string{""}, false},
		"longest":  {[]string{strings.Repeat("a", 128)}, true},
		"too long": {[]string{strings.Repeat("a", 129)}, false},
		"a line":   {[]string{"a\nb"}, false},
		"quote":    {[]string{`a"b`}, false},
		"letters":  {[]string{"\u00e4"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var logs []string
			handler := telemetry.RequestIDs(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				id, _ := logged(t, r, event(nil))["request_id"].(string)
				logs = append(logs, id)
			}))
			for range 2 {
				r, w := httptest.NewRequest(http.MethodGet, "/v2/", nil), httptest.NewRecorder()
				r.Header["X-Request-Id"] = test.sent
				handler.ServeHTTP(w, r)
				if id := logs[len(logs)-1]; id == "" || w.Header().Get("X-Request-Id") != id || len(w.Header()["X-Request-Id"]) != 1 || (test.kept && id != test.sent[0]) {
					t.Errorf("sent %q, logged %q, response has %q", test.sent, id, w.Header()["X-Request-Id"])
				}
			}
			if !test.kept && logs[0] == logs[1] {
				t.Errorf("two requests have the id %q", logs[0])
			}
		})
	}
}

// The trace is logged if traceparent has exactly the form of the standard.
func TestTraceID(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for parent, want := range map[string]any{
		"00-" + id + "-00f067aa0ba902b7-01":                      id,
		"00-" + id + "-00f067aa0ba902b7-0g":                      nil,
		"00-" + id + "-0000000000000000-01":                      nil,
		"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01": nil,
		"00-" + strings.ToUpper(id) + "-00f067aa0ba902b7-01":     nil,
		"01-" + id + "-00f067aa0ba902b7-01":                      nil,
		"00-" + id + "-00f067aa0ba902b7-01-x":                    nil,
		"00-" + id + "0-0f067aa0ba902b7-01":                      nil,
		"":                                                       nil,
	} {
		r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
		r.Header.Set("traceparent", parent)
		if got := logged(t, r, event(nil))["trace_id"]; got != want {
			t.Errorf("%q: %v, want %v", parent, got, want)
		}
	}
}
