package ratelimit

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestParseQuota(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for in, want := range map[string]struct {
		n      int
		window time.Duration
		ok     bool
	}{
		"100;w=21600":              {100, 6 * time.Hour, true},
		"20;w=3600":                {20, time.Hour, true},
		"-3;w=21600":               {-3, 6 * time.Hour, true},
		"0;w=21600":                {0, 6 * time.Hour, true},
		" 100 ; w=21600 ":          {100, 6 * time.Hour, true},
		"100":                      {100, 0, true},
		"100;burst=5;w=60":         {100, time.Minute, true},
		"100;w=21600,200;w=86400":  {100, 6 * time.Hour, true},
		"100, 10;w=1, 100;w=86400": {100, day, true},
		"100, 10;w=1":              {100, 0, true},
		"100;w=60, garbage":        {100, time.Minute, true},
		"100;w=-1":                 {100, 0, true},
		"100;w=99999999999999":     {100, 0, true},
		"100;w=":                   {100, 0, true},
		"":                         {},
		";w=21600":                 {},
		"garbage, 100;w=60":        {},
		"unlimited":                {},
		"1e3;w=60":                 {},
		"99999999999999999999;w=1": {},
	} {
		if n, window, ok := parseQuota(in); n != want.n || window != want.window || ok != want.ok {
			t.Errorf("%q: %d, %v, %v; want %+v", in, n, window, ok, want)
		}
	}
}

func TestParseHeaders(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_790_000_000, 0)
	const sixHours = 6 * time.Hour
	for name, test := range map[string]struct {
		header []string
		want   quota
		ok     bool
	}{
		"docker": {
			[]string{"ratelimit-limit", "100;w=21600", "ratelimit-remaining", "20;w=21600"},
			quota{100, sixHours, 20, time.Time{}}, true,
		},
		"below zero": {
			[]string{"RateLimit-Limit", "100;w=21600", "RateLimit-Remaining", "-3;w=21600"},
			quota{100, sixHours, -3, time.Time{}}, true,
		},
		"with reset": {
			[]string{"RateLimit-Limit", "10, 10;w=1, 1000;w=3600", "RateLimit-Remaining", "9", "RateLimit-Reset", "50"},
			quota{10, time.Second, 9, now.Add(50 * time.Second)}, true,
		},
		"reset as a moment":  {[]string{"RateLimit-Limit", "10", "RateLimit-Remaining", "9", "RateLimit-Reset", "1790000060"}, quota{10, 0, 9, now.Add(time.Minute)}, true},
		"reset in the past":  {[]string{"RateLimit-Limit", "10", "RateLimit-Remaining", "9", "RateLimit-Reset", "1789999999"}, quota{limit: 10, remaining: 9}, true},
		"reset too far":      {[]string{"RateLimit-Limit", "10", "RateLimit-Remaining", "9", "RateLimit-Reset", "99999999"}, quota{limit: 10, remaining: 9}, true},
		"draft 7":            {[]string{"RateLimit", "limit=100, remaining=50, reset=5", "RateLimit-Policy", "100;w=60"}, quota{100, time.Minute, 50, now.Add(5 * time.Second)}, true},
		"draft 7, alone":     {[]string{"RateLimit", "limit=100, remaining=50"}, quota{limit: 100, remaining: 50}, true},
		"draft 7, no limit":  {[]string{"RateLimit", "remaining=50, reset=5"}, quota{}, false},
		"draft 7, no number": {[]string{"RateLimit", `limit="100", remaining=50`}, quota{}, false},
		"draft 8": {
			[]string{"RateLimit", `"default";r=50;t=30`, "RateLimit-Policy", `"default";q=100;w=60`},
			quota{100, time.Minute, 50, now.Add(30 * time.Second)}, true,
		},
		"draft 8, several": {
			[]string{"RateLimit", `"hour";r=900;t=30, "burst";r=1;t=3`, "RateLimit-Policy", `"burst";q=10;w=5, "hour";q=1000;w=3600`},
			quota{10, 5 * time.Second, 1, now.Add(3 * time.Second)}, true,
		},
		"draft 8, tokens":       {[]string{"RateLimit", "a;r=1", "RateLimit-Policy", "a;q=2"}, quota{limit: 2, remaining: 1}, true},
		"draft 8, other policy": {[]string{"RateLimit", `"a";r=50`, "RateLimit-Policy", `"b";q=100`}, quota{}, false},
		"draft 8, bytes":        {[]string{"RateLimit", ":YQ==:;r=50", "RateLimit-Policy", ":YQ==:;q=100"}, quota{}, false},
		"draft 8, inner list":   {[]string{"RateLimit", `("a");r=50`, "RateLimit-Policy", `("a");q=100`}, quota{}, false},
		"with an X":             {[]string{"X-RateLimit-Limit", "60", "X-RateLimit-Remaining", "59", "X-RateLimit-Reset", "1790000060"}, quota{60, 0, 59, now.Add(time.Minute)}, true},
		"the X comes last":      {[]string{"X-RateLimit-Limit", "60", "X-RateLimit-Remaining", "59", "RateLimit-Limit", "6", "RateLimit-Remaining", "5"}, quota{limit: 6, remaining: 5}, true},
		"nothing":               {nil, quota{}, false},
		"only the limit":        {[]string{"RateLimit-Limit", "100;w=21600"}, quota{}, false},
		"a limit below zero":    {[]string{"RateLimit-Limit", "-1", "RateLimit-Remaining", "0"}, quota{}, false},
	} {
		if got, ok := parseHeaders(header(test.header...), now); got != test.want || ok != test.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, test.want, test.ok)
		}
	}
}

func FuzzParseHeaders(f *testing.F) {
	for _, s := range []string{
		"100;w=21600", "-3", "100;w=21600,200;w=86400", ";;,,", "9;w=9;w=10", "limit=100, remaining=50, reset=5",
		`"default";r=50;t=30;q=100;w=60`, ":YQ==:;r=50;q=100", `("a" "b");q=1`, "999999999999999", "1790000060", "?1", "1.5",
	} {
		f.Add(s, s, s, int64(1_790_000_000))
	}
	f.Fuzz(func(t *testing.T, one, two, three string, unix int64) {
		now := time.Unix(unix%(1<<40), 0)
		for _, names := range [][]string{
			{"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"},
			{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"},
			{"RateLimit", "RateLimit-Policy", "RateLimit-Reset"},
		} {
			h := make(http.Header)
			for i, value := range []string{one, two, three} {
				h.Set(names[i], value)
			}
			q, ok := parseHeaders(h, now)
			if !ok && q != (quota{}) || q.limit < 0 || q.window < 0 || q.window > maxWindow {
				t.Errorf("%v: %+v, %v", h, q, ok)
			}
			if !q.reset.IsZero() && (!q.reset.After(now) || q.reset.After(now.Add(maxReset))) {
				t.Errorf("%v at %s: over at %s", h, now, q.reset)
			}
		}
	})
}

// Each format is parsed back to what was written.
func FuzzQuota(f *testing.F) {
	f.Add(100, 20, 21600, 30)
	f.Add(0, -3, 1, 1)
	f.Fuzz(func(t *testing.T, limit, remaining, window, reset int) {
		const most = 999_999_999_999_999 // of a structured field
		limit, remaining = max(limit, -limit, 0)%most, remaining%most
		window, reset = 1+max(window, -window, 0)%int(maxWindow/time.Second), 1+max(reset, -reset, 0)%int(maxReset/time.Second)
		now := time.Unix(1_790_000_000, 0)
		want := quota{
			limit: limit, remaining: remaining,
			window: time.Duration(window) * time.Second, reset: now.Add(time.Duration(reset) * time.Second),
		}
		policy := fmt.Sprintf("%d;w=%d", limit, window)
		for _, h := range []http.Header{
			header("RateLimit-Limit", policy, "RateLimit-Remaining", fmt.Sprint(remaining), "RateLimit-Reset", fmt.Sprint(reset)),
			header("X-RateLimit-Limit", policy, "X-RateLimit-Remaining", fmt.Sprint(remaining), "X-RateLimit-Reset", fmt.Sprint(now.Unix()+int64(reset))),
			header("RateLimit", fmt.Sprintf("limit=%d, remaining=%d, reset=%d", limit, remaining, reset), "RateLimit-Policy", policy),
			header("RateLimit", fmt.Sprintf(`"a";r=%d;t=%d`, remaining, reset), "RateLimit-Policy", fmt.Sprintf(`"a";q=%d;w=%d`, limit, window)),
		} {
			if q, ok := parseHeaders(h, now); !ok || q != want {
				t.Errorf("%v: %+v, %v; want %+v", h, q, ok, want)
			}
		}
	})
}
