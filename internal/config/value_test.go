package config

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	for _, test := range []struct {
		text string
		want Size
		back string
	}{
		{"0", 0, "0"},
		{"1", 1, "1"},
		{"1023", 1023, "1023"},
		{"1536", 1536, "1536"},
		{"512m", 512 << 20, "512MiB"},
		{"50G", 50 << 30, "50GiB"},
		{"50GB", 50 << 30, "50GiB"},
		{"50 GiB", 50 << 30, "50GiB"},
		{"1.5k", 1536, "1536"},
		{"1024PiB", 1 << 60, "1024PiB"},
		{"9007199254740993", 1<<53 + 1, "9007199254740993"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807"},
	} {
		var size Size
		if err := size.Set(test.text); err != nil || size != test.want {
			t.Errorf("Set(%q) = %d, %v; want %d", test.text, size, err, test.want)
		}
		if got := size.String(); got != test.back {
			t.Errorf("Set(%q).String() = %q, want %q", test.text, got, test.back)
		}
	}
	for _, text := range []string{"", " ", "x", "-1", "-1k", "1x", "1kbb", "inf ", "nan b", "9223372036854775808", "8192PiB", "1e30", "1 2"} {
		size := Size(7)
		if err := size.Set(text); err == nil || size != 7 {
			t.Errorf("Set(%q) = %d, %v; want an error and no change", text, size, err)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", time.Minute: "1m", 90 * time.Second: "1m30s", 10 * time.Minute: "10m",
		time.Hour: "1h", 100 * time.Hour: "100h", time.Hour + time.Second: "1h0m1s", time.Millisecond: "1ms",
	} {
		if got := duration(d).String(); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
		if back, err := parseDuration(want); err != nil || time.Duration(back) != d {
			t.Errorf("parse %q: got %v, %v", want, back, err)
		}
	}
	if d, err := parseDuration("0"); err != nil || d != 0 {
		t.Errorf(`parse "0": got %v, %v`, d, err)
	}
}

// Weeks and days are written as in Prometheus and systemd.
func TestLongDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"30d": 30 * day, "1w": 7 * day, "1w2d12h": 9*day + 12*time.Hour, "0d": 0, "1d30m": day + 30*time.Minute,
	} {
		if got, err := parseDuration(text); err != nil || time.Duration(got) != want {
			t.Errorf("parse %q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"d", "-1d", "1d-1h", "1.5d", "1d1w", "99999d", "1y", "1d\n", ""} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parse %q: got %v, want an error", text, got)
		}
	}
}

// A path does not depend on the working directory of the next command.
func TestPathsAreAbsolute(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	c, err := load(t, "cache: {dir: cache}\nupstreams: [{name: a, url: 'http://a', username: u, password_file: ../p}]\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(filepath.Dir(c.Cache.Dir), "cache"); c.Cache.Dir != want || !filepath.IsAbs(want) {
		t.Errorf("cache.dir is %s, want it absolute", c.Cache.Dir)
	}
	if got, want := c.Upstreams[0].Credentials[0].PasswordFile, filepath.Join(filepath.Dir(filepath.Dir(c.Cache.Dir)), "p"); got != want {
		t.Errorf("password_file is %s, want %s", got, want)
	}
}

// accepts tests that parse returns the good texts unchanged and rejects the bad ones.
func accepts(t *testing.T, parse func(string) (string, error), good, bad []string) {
	t.Helper()
	for _, s := range good {
		if got, err := parse(s); err != nil || got != s {
			t.Errorf("%q: got %q, %v", s, got, err)
		}
	}
	for _, s := range bad {
		if got, err := parse(s); err == nil {
			t.Errorf("%q: got %q, want an error", s, got)
		}
	}
}

func TestAddress(t *testing.T) {
	accepts(t, parseAddress,
		[]string{":0", ":5000", "0.0.0.0:65535", "[::]:1", "[fe80::1%eth0]:1", "localhost:1", "My-Host.local:1"},
		[]string{"", ":", "x", "::1:5000", "1.2.3.4", "x:http", "x:-1", "x:65536", "a b:1", "-x:1", "x-:1", "a..b:1", "http://x:1", "[fe80::1%\n]:1"})
}

func TestName(t *testing.T) {
	accepts(t, parseName,
		[]string{"docker.io", "localhost", "localhost:5000", "127.0.0.1:5000", "xn--a.example", "a-b.c0"},
		[]string{"", "Docker.io", "docker.io/x", "docker.io:", "docker.io:65536", ":1", ".io", "a..b", "https://a", "a b", "a:1:2"})
}

func TestURL(t *testing.T) {
	accepts(t, parseURL,
		[]string{"https://registry-1.docker.io", "http://127.0.0.1:5000", "http://[::1]:5000", "https://h/artifactory/hub"},
		[]string{"", "/", "https://", "https:h", "h", "h:5000", "http://:5000", "http://h:65536", "http://h:x", "http://h?", "http://h#f", "http://h\n", "unix:///x"})
	if got, err := parseURL("https://h//"); err != nil || got != "https://h" {
		t.Errorf("slashes at the end: got %q, %v", got, err)
	}
}

func TestURLErrorsKeepSecrets(t *testing.T) {
	for _, s := range []string{"https://u:s3cret@h", "u:s3cret@h", "https://u:s3cret @h", "https://u:s3cret@h:x", "ftp://u:s3cret@h?q", "//u:s3cret@h", "https://h?token=s3cret", "https://h#s3cret"} {
		if _, err := parseURL(s); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %v", s, err)
		}
	}
	_, err := parseURL("https://u:p@h")
	if want := "contains a user name or password; set username and password_file instead"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLabel(t *testing.T) {
	accepts(t, parseLabel,
		[]string{"a", "0", "docker-config", "team_a", strings.Repeat("a", 32)},
		[]string{"", "-a", "_a", "A", "a.b", "a b", "u@h", strings.Repeat("a", 33)})
}

func TestHelper(t *testing.T) {
	accepts(t, parseHelper, []string{"pass", "ecr-login", "my_helper.sh", "A1"}, []string{"", "a/b", "a b", "é"})
}

func TestShare(t *testing.T) {
	for _, test := range []struct {
		text      string
		want      Share
		whole, of int
	}{
		{"10%", Share{Percent: 10}, 100, 10},
		{"10%", Share{Percent: 10}, 101, 11},
		{"10%", Share{Percent: 10}, 199, 20},
		{"10%", Share{Percent: 10}, 0, 0},
		{"1%", Share{Percent: 1}, 1, 1},
		{"100%", Share{Percent: 100}, 199, 199},
		{"100%", Share{Percent: 100}, math.MaxInt, math.MaxInt},
		{"20", Share{Number: 20}, 200, 20},
		{"20", Share{Number: 20}, 10, 20},
		{"0", Share{}, 100, 0},
		{"0%", Share{}, 100, 0},
	} {
		got, err := parseShare(test.text)
		if err != nil || got != test.want {
			t.Errorf("%q: got %+v, %v; want %+v", test.text, got, err, test.want)
		}
		if of := got.Of(test.whole); of != test.of {
			t.Errorf("%s of %d = %d, want %d", test.text, test.whole, of, test.of)
		}
		if back, err := parseShare(got.String()); err != nil || back != got {
			t.Errorf("%q: written %q, read back %+v, %v", test.text, got, back, err)
		}
	}
	for _, s := range []string{"", "%", "-1", "-1%", "+1", "1.5", "10 %", "10%%", "0x1", "1_0", "2147483648", "101%", "ten"} {
		if got, err := parseShare(s); err == nil {
			t.Errorf("%q: got %+v, want an error", s, got)
		}
	}
}

func TestProbe(t *testing.T) {
	for s, want := range map[string]time.Duration{"0": 0, "0s": 0, "1m": time.Minute, "60s": time.Minute, "24h": 24 * time.Hour} {
		if got, err := parseProbe(s); err != nil || time.Duration(got) != want {
			t.Errorf("%q: got %v, %v; want %v", s, got, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"dir", "max_size", "min_free"}
	for word, want := range map[string]string{
		"maxsize": "max_size", "MAX-SIZE": "max_size", "min_fre": "min_free", "max": "max_size", "dirs": "dir",
		"": "", "x": "", "ma": "", "directory": "", "colour": "",
	} {
		if got, ok := nearest(word, known); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", word, got, ok, want)
		}
	}
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
