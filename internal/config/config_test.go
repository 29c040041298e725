package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"mirrord/internal/tagrule"
)

// load calls Load with args as the command line and yaml, unless it is empty, in the
// file mirrord.yaml in the working directory.
func load(t *testing.T, yaml string, environ []string, args ...string) (*Config, error) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", "/home/u/.cache")
	t.Chdir(t.TempDir())
	if yaml != "" {
		if err := os.WriteFile("mirrord.yaml", []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config=mirrord.yaml"}, args...)
	}
	fs := pflag.NewFlagSet("mirrord", pflag.ContinueOnError)
	AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(fs, environ)
}

// wantProblems fails t unless err is an *Error with exactly these lines.
func wantProblems(t *testing.T, err error, want ...string) {
	t.Helper()
	var failure *Error
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want an *Error", err)
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), failure.Error()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// defaultConfig does not use the table, so a default must be changed in two places.
func defaultConfig() *Config {
	c := new(Config)
	c.Listen = "127.0.0.1:5000"
	c.Admin.Listen = "127.0.0.1:5001"
	c.Cache.Dir = filepath.FromSlash("/home/u/.cache/mirrord")
	c.Cache.MaxSize = 50 << 30
	c.Cache.MinFree = 2 << 30
	c.Cache.MaxPinned = Part{Percent: 50}
	c.Cache.MaxFills = 32
	c.Cache.Scrub = 7 * 24 * time.Hour
	c.Fleet.Leases, c.Fleet.Private, c.Fleet.MaxAge = LeasesAuto, PrivateOff, 30*24*time.Hour
	c.Clients.MaxRequests = 256
	c.Tags.Fresh = time.Minute
	c.Tags.MaxStale = 30 * 24 * time.Hour
	c.Tags.MaxSilence = 1500 * time.Millisecond
	c.Quota.Reserve = Share{Percent: 10}
	c.Quota.Probe = 15 * time.Minute
	c.Upstreams = []Upstream{dockerHub}
	c.Log.Level = "info"
	c.Log.Format = AutoFormat
	c.Log.Access, c.Log.AccessSample = "all", 1
	c.Access.Private = "deny"
	c.Status.Clients = true
	return c
}

// dockerHub is docker.io, of which the rest is known.
var dockerHub = Upstream{
	Name: "docker.io", URL: "https://registry-1.docker.io",
	Aliases: []string{"index.docker.io", "registry-1.docker.io"}, TokenHosts: []string{"auth.docker.io"},
}

func TestDefaults(t *testing.T) {
	for _, yaml := range []string{"", "# nothing\n", "---\n", "\ufeff", "cache:\n  # dir: /x\nlog:\n", "%YAML 1.2\n---\n{}\n"} {
		c, err := load(t, yaml, nil)
		if err != nil {
			t.Fatalf("%q: %v", yaml, err)
		}
		if diff := cmp.Diff(defaultConfig(), c); diff != "" {
			t.Errorf("%q (-want +got):\n%s", yaml, diff)
		}
	}
}

func TestCacheDirSet(t *testing.T) {
	for _, test := range []struct {
		yaml    string
		environ []string
		args    []string
		chosen  bool
	}{
		{environ: []string{"HOME=/root", "CACHE_DIRECTORY=/var/cache/mirrord", "MIRRORD_CACHE_DIR="}},
		{yaml: "cache: {max_size: 1GiB}\n"},
		{yaml: "cache: {dir: /a}\n", chosen: true},
		{environ: []string{"HOME=/root", "MIRRORD_CACHE_DIR=/a"}, chosen: true},
		{args: []string{"--cache-dir=/a"}, chosen: true},
	} {
		c, err := load(t, test.yaml, test.environ, test.args...)
		if err != nil || c.Cache.DirSet != test.chosen {
			t.Errorf("%+v: %v, %v", test, c, err)
		}
	}
}

func TestListenSet(t *testing.T) {
	for _, test := range []struct {
		yaml    string
		environ []string
		args    []string
		chosen  bool
	}{
		{yaml: "listeners: [{address: ':1'}]\n"},
		{environ: []string{"HOME=/root", "MIRRORD_LISTEN="}},
		{environ: []string{"HOME=/root", "MIRRORD_LISTEN=127.0.0.1:5000"}, chosen: true},
		{yaml: "listen: 127.0.0.1:5000\n", chosen: true},
		{args: []string{"--listen=127.0.0.1:5000"}, chosen: true},
	} {
		c, err := load(t, test.yaml, test.environ, test.args...)
		if err != nil || c.ListenSet != test.chosen {
			t.Errorf("%+v: %v, %v", test, c, err)
		}
	}
}

func TestPrecedence(t *testing.T) {
	yaml := "tags: {fresh: 2m, stale_while_revalidate: 1h, max_stale: 0, rules: [{match: a, fresh: 1h}, {match: b, fresh: 1h}]}\n" +
		"quota: {reserve: 20, probe: 0, per_client: 5}\nlog: {level: warn, format: console}\nlisten: :1\nupstreams:\n  - {name: a, url: http://a}\n  - {name: b, url: http://b}\n"
	environ := []string{"HOME=/root", "MIRRORD_LISTEN=:2", "MIRRORD_LOG_LEVEL=error", "MIRRORD_LOG_FORMAT=",
		"MIRRORD_UPSTREAMS= name=c,url=http://c  name=d:5000,url=https://d/ ",
		"MIRRORD_TAGS_RULES=match=*:latest,fresh=1m  match=library/{nginx,alpine},fresh=0", "MIRRORD_QUOTA_RESERVE=0%"}
	c, err := load(t, yaml, environ, "--listen=:3", "--listen=:4",
		"--quota-per-client=7", "--cache-max-fills=4", "--cache-scrub=0", "--clients-max-requests=0", "--tags-max-stale=24h", "--tags-rule=match=corp/**,fresh=1h",
		"--upstream=name=e,url=http://e,username=u,password-file=/f", "--upstream", "name=f,url=http://f")
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.Tags.Fresh = 2 * time.Minute
	want.Tags.Rules = tagrule.Rules{{Match: "corp/**", Fresh: time.Hour}}
	want.Tags.StaleWhileRevalidate = time.Hour
	want.Tags.MaxStale = 24 * time.Hour
	want.Quota.Reserve = Share{}
	want.Quota.Probe = 0
	want.Quota.PerClient = 7
	want.Cache.MaxFills, want.Cache.Scrub, want.Clients.MaxRequests = 4, 0, 0
	want.Log.Level = "error"
	want.Log.Format = "console"
	want.Listen, want.ListenSet = ":4", true
	want.Upstreams = []Upstream{{Name: "e", URL: "http://e", Credentials: []Credential{{Name: "login", Username: "u", PasswordFile: "/f"}}}, {Name: "f", URL: "http://f"}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("flags over environment over file (-want +got):\n%s", diff)
	}

	c, err = load(t, yaml, environ)
	if err != nil {
		t.Fatal(err)
	}
	want.Listen = ":2"
	want.Tags.Rules = tagrule.Rules{{Match: "*:latest", Fresh: time.Minute}, {Match: "library/{nginx,alpine}"}}
	want.Tags.MaxStale = 0
	want.Quota.PerClient = 5
	want.Cache.MaxFills, want.Cache.Scrub, want.Clients.MaxRequests = 32, 7*24*time.Hour, 256
	want.Upstreams = []Upstream{{Name: "c", URL: "http://c"}, {Name: "d:5000", URL: "https://d"}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("environment over file (-want +got):\n%s", diff)
	}
}

func TestConfigFileFromEnvironment(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.yaml"), filepath.Join(dir, "two.yaml")
	for path, text := range map[string]string{one: "listen: :1\n", two: "listen: :2\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := load(t, "", []string{"MIRRORD_CONFIG=" + one})
	if err != nil || c.Listen != ":1" {
		t.Errorf("MIRRORD_CONFIG: got %+v, %v", c, err)
	}
	c, err = load(t, "", []string{"MIRRORD_CONFIG=" + one}, "--config", two)
	if err != nil || c.Listen != ":2" {
		t.Errorf("--config over MIRRORD_CONFIG: got %+v, %v", c, err)
	}
	c, err = LoadFile(two)
	if err != nil || c.Listen != ":2" {
		t.Errorf("LoadFile: got %+v, %v", c, err)
	}
}

func TestConfigurationDirectory(t *testing.T) {
	dir := t.TempDir()
	environ := []string{"CONFIGURATION_DIRECTORY=" + dir + ":/etc/other"}
	c, err := load(t, "", environ)
	if err != nil || c.Listen != "127.0.0.1:5000" {
		t.Errorf("without a file: got %+v, %v", c, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mirrord.yaml"), []byte("listen: :1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err = load(t, "", environ)
	if err != nil || c.Listen != ":1" {
		t.Errorf("with a file: got %+v, %v", c, err)
	}
	c, err = load(t, "listen: :2\n", environ)
	if err != nil || c.Listen != ":2" {
		t.Errorf("--config over CONFIGURATION_DIRECTORY: got %+v, %v", c, err)
	}
}

func TestCacheDirectory(t *testing.T) {
	c, err := load(t, "", []string{"CACHE_DIRECTORY=/var/cache/mirrord:/var/cache/other"})
	if err != nil || c.Cache.Dir != "/var/cache/mirrord" {
		t.Errorf("CACHE_DIRECTORY: got %+v, %v", c, err)
	}
	c, err = load(t, "cache: {dir: /data}\n", []string{"CACHE_DIRECTORY=/var/cache/mirrord"})
	if err != nil || c.Cache.Dir != "/data" {
		t.Errorf("file over CACHE_DIRECTORY: got %+v, %v", c, err)
	}
}

func TestNoHome(t *testing.T) {
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "CACHE_DIRECTORY", "LocalAppData"} {
		t.Setenv(name, "")
	}
	path := filepath.Join(t.TempDir(), "mirrord.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadFile(path)
	wantProblems(t, err, "cache.dir: has no default, because there is neither $CACHE_DIRECTORY nor a home directory; set it")

	if err := os.WriteFile(path, []byte("cache: {dir: /data}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadFile(path); err != nil {
		t.Errorf("with cache.dir: %v", err)
	}
}

func TestTable(t *testing.T) {
	table := Table()
	for _, row := range []string{
		"| key | flag | environment | default | meaning |\n|---|---|---|---|---|\n",
		"\n| `cache.max_size` | `--cache-max-size` | `MIRRORD_CACHE_MAX_SIZE` | `50GiB` | maximum size of the cache, beyond which the least recently used content is evicted |\n",
		"\n| `upstreams` | `--upstream` | `MIRRORD_UPSTREAMS` | `docker.io` |",
		"\n| `tags.rules` | `--tags-rule` | `MIRRORD_TAGS_RULES` | `none` |",
	} {
		if !strings.Contains(table, row) {
			t.Errorf("no %q in\n%s", row, table)
		}
	}
}

// The documented defaults are the real ones, in the spelling of WriteYAML.
func TestFallbacks(t *testing.T) {
	l := newLoader("/d")
	for _, s := range settings {
		if s.list || s.fallback == "" || s.key == cacheDirKey || s.key == adminSocketKey {
			continue
		}
		want := []string{leaf(s.key) + ": " + quote(s.fallback)}
		if diff := cmp.Diff(want, s.write(l.config)); diff != "" {
			t.Errorf("%s (-documented +default):\n%s", s.key, diff)
		}
	}
}

func TestUsage(t *testing.T) {
	fs := pflag.NewFlagSet("mirrord", pflag.ContinueOnError)
	AddFlags(fs)
	usage := strings.Join(strings.Fields(fs.FlagUsages()), " ")
	for _, want := range []string{
		"--config FILE the YAML file to read settings from (environment MIRRORD_CONFIG)",
		"--cache-min-free SIZE space to leave free on the cache's file system (default 2GiB; environment MIRRORD_CACHE_MIN_FREE)",
	} {
		if !strings.Contains(usage, want) {
			t.Errorf("no %q in\n%s", want, fs.FlagUsages())
		}
	}
}
