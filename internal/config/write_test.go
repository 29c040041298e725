package config

import (
	"bytes"
	"errors"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// read is LoadFile for data instead of a file.
func read(data []byte) (*Config, error) {
	l := newLoader("/var/cache/mirrord")
	l.parse("mirrord.yaml", data)
	return l.finish()
}

func TestWriteYAML(t *testing.T) {
	c, err := read([]byte("access: {audit_log: /var/log/a.jsonl, rules: [{allow: true, who: ['user:alice', 'cert:CN=*'], from: 10.1.2.3/8}, {deny: true, dry_run: true, upstream: index.docker.io, repository: 'x/**', tag: 'v?'}, {min_age: 7d, dry_run: true}, {require_signature: [/a.pub, '/b c.pub']}]}\ntags: {rules: [{match: '*:latest', fresh: 0}, {match: 'library/{nginx,alpine}', fresh: 90s}]}\nupstreams:\n- name: docker.io\n  url: https://registry-1.docker.io\n- {url: http://b, name: 'b:5000', username: 'it''s', password_file: /run/b}\n" +
		"- {name: c, url: http://c, credentials: [{username: u, password_file: /c, name: c-1}, {docker_config: /d.json}, {helper: pass}, {anonymous: true}]}\n" +
		"- ghcr.io\n" +
		"- {name: d, url: http://d/x/, aliases: [e, 'f:1'], hosts: d.example, repository_prefix: /p/q/, fallbacks: http://e, token_hosts: [t], private_networks: 10.1.2.3, " +
		"ca_file: /ca, client_cert_file: /cert, client_key_file: /key, insecure_skip_verify: true, proxy: none, connect_timeout: 3s, response_timeout: 9s, max_fills: 4, " +
		"bandwidth: [{limit: 20MiB, from: '08:00', to: '18:00', days: 'mon-wed,fri'}, {limit: 1GiB}], tag_rules: [{match: '*:dev', fresh: 0}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `listen: 127.0.0.1:5000
admin:
  listen: 127.0.0.1:5001
cache:
  dir: /var/cache/mirrord
  max_size: 50GiB
  min_free: 2GiB
  max_pinned: 50%
  max_fills: 32
  scrub: 168h
clients:
  max_requests: 256
  requests_per_second: 0
  max_connections: 0
  bandwidth: 0
  total_bandwidth: 0
  catalog: false
access:
  private: deny
  rules:
    - allow: true
      from: [10.0.0.0/8]
      who: [user:alice, 'cert:CN=*']
    - deny: true
      upstream: docker.io
      repository: 'x/**'
      tag: 'v?'
      dry_run: true
    - min_age: 168h
      dry_run: true
    - require_signature: [/a.pub, '/b c.pub']
  audit_log: /var/log/a.jsonl
tags:
  fresh: 1m
  rules:
    - match: '*:latest'
      fresh: 0s
    - match: 'library/{nginx,alpine}'
      fresh: 1m30s
    - match: 'ghcr.io/**'
      fresh: 10m
  stale_while_revalidate: 0s
  max_stale: 720h
  max_silence: 1.5s
quota:
  reserve: 10%
  probe: 15m
  per_client: 0
status:
  clients: true
offline: false
fleet:
  leases: auto
  private: off
  upload_bandwidth: 0
  max_age: 720h
upstreams:
  - name: docker.io
    url: https://registry-1.docker.io
    aliases: [index.docker.io, registry-1.docker.io]
    token_hosts: [auth.docker.io]
  - name: b:5000
    url: http://b
    credentials:
      - name: login
        username: 'it''s'
        password_file: /run/b
  - name: c
    url: http://c
    credentials:
      - name: c-1
        username: u
        password_file: /c
      - name: docker-config
        docker_config: /d.json
      - name: helper
        helper: pass
      - name: anonymous
        anonymous: true
  - name: ghcr.io
    url: https://ghcr.io
  - name: d
    url: http://d/x
    aliases: [e, f:1]
    hosts: [d.example]
    repository_prefix: p/q
    fallbacks: [http://e]
    token_hosts: [t]
    private_networks: [10.1.2.3/32]
    ca_file: /ca
    client_cert_file: /cert
    client_key_file: /key
    insecure_skip_verify: true
    proxy: none
    connect_timeout: 3s
    response_timeout: 9s
    max_fills: 4
    bandwidth:
      - limit: 20MiB
        from: 08:00
        to: 18:00
        days: 'mon-wed,fri'
      - limit: 1GiB
    tag_rules:
      - match: '*:dev'
        fresh: 0s
log:
  level: info
  access: all
  access_sample: 1
  format: auto
`
	var b bytes.Buffer
	if err := c.WriteYAML(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	roundTrip(t, c)
}

// roundTrip fails t unless what WriteYAML writes is read back as c.
func roundTrip(t *testing.T, c *Config) {
	t.Helper()
	var b bytes.Buffer
	if err := c.WriteYAML(&b); err != nil {
		t.Fatal(err)
	}
	back, err := read(b.Bytes())
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, &b)
	}
	if !back.Cache.DirSet {
		t.Error("DirSet is false for a file with cache.dir")
	}
	back.Cache.DirSet, back.ListenSet, back.Admin.ListenSet = c.Cache.DirSet, c.ListenSet, c.Admin.ListenSet
	if diff := cmp.Diff(c, back); diff != "" {
		t.Fatalf("(-want +got):\n%s\nfrom\n%s", diff, &b)
	}
}

// What the configuration gives to another upstream is no alias of a known one, and token
// hosts are added to the known ones.
func TestKnown(t *testing.T) {
	c, err := read([]byte("upstreams: [{name: docker.io, token_hosts: hub.example}, {name: index.docker.io, url: 'http://a'}, {name: quay.io, url: 'http://b', insecure_skip_verify: false}]\n" +
		"tags: {fresh: 30s}\nlisteners: [{address: ':1', upstream: registry-1.docker.io}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Upstream{
		{Name: "docker.io", URL: "https://registry-1.docker.io", Aliases: []string{"registry-1.docker.io"}, TokenHosts: []string{"hub.example", "auth.docker.io"}},
		{Name: "index.docker.io", URL: "http://a"},
		{Name: "quay.io", URL: "http://b"},
	}
	if diff := cmp.Diff(want, c.Upstreams); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(c.Tags.Rules) > 0 || c.Listeners[0].Upstream != "docker.io" {
		t.Errorf("rules %v although tags.fresh is set, listeners %v", c.Tags.Rules, c.Listeners)
	}
	roundTrip(t, c)
}

// Without listen, listeners replace its default.
func TestListeners(t *testing.T) {
	for yaml, want := range map[string][]Listener{
		"":                              {{Address: "127.0.0.1:5000"}},
		"listeners: [':1']":             {{Address: ":1"}},
		"listen: ':2'\nlisteners: ':1'": nil,
		"listen: ':2'\nlisteners: [':1', {address: ':3', upstream: docker.io}, {address: ':4', tls: {cert_file: /c, key_file: /k, client_ca_file: /ca}}]": {{Address: ":2"}, {Address: ":1"}, {Address: ":3", Upstream: "docker.io"}, {Address: ":4", TLS: TLS{"/c", "/k", "/ca"}}},
		"listeners: [{address: ':1', acme: {domains: [B.example., '192.0.2.7'], email: a@b.example, directory: 'https://ca/d', ca_file: /ca}}]": {
			{Address: ":1", ACME: ACME{[]string{"b.example", "192.0.2.7"}, "a@b.example", "https://ca/d", "/ca"}}},
	} {
		c, err := read([]byte(yaml))
		if (err == nil) != (want != nil) {
			t.Errorf("%q: %v", yaml, err)
		}
		if err != nil {
			continue
		}
		if diff := cmp.Diff(want, c.AllListeners()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", yaml, diff)
		}
		roundTrip(t, c)
	}
}

// Text that YAML could misread is read back unchanged.
func TestRoundTripText(t *testing.T) {
	for _, text := range []string{
		"null", "NULL", "~", "true", "no", "0x1F", "0123", "1_000", "1.50", "1e3", ".inf", ".nan", "2001-01-01", "0o17", "1:30",
		"- a", "a: b", "a:", ":a", "a #b", "#a", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a`", "{a}", "[a]", "a, b", "?", "? a", "---", "...", "<<", "=",
		"it's", "''", `"`, `\n`, " a ", "  ", "é", "日本", "😀", "a  b", "<<: *a",
	} {
		c := defaultConfig()
		path := "/" + text // paths are absolute
		c.Cache.Dir = path
		c.Upstreams[0].Credentials = []Credential{{Name: "a", Username: text, PasswordFile: path}, {Name: "b", DockerConfig: path}}
		roundTrip(t, c)
	}
}

// full is a writer that fails like a full device.
type full struct{}

var errFull = errors.New("no space left on device")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteYAMLFails(t *testing.T) {
	if err := defaultConfig().WriteYAML(full{}); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

// placed matches a problem and its place.
var placed = regexp.MustCompile(`^mirrord\.yaml:[1-9][0-9]*(:[1-9][0-9]*)?: [^\n]+$`)

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "---\n", "listen: :1\n", "cache:\n  dir: \"\\x41é\"\n  max_size: 1.5g\n", "tags: {fresh: 0}\n", "a: &x 1\nb: *x\n<<: *x\n",
		"upstreams:\n- name: a\n  url: http://a\n  username: 'u ''\n'\n  password_file: >-\n    a\n    b\n", "? a\n: b\n", "[[{",
		"upstreams:\n- name: a\n  url: http://a\n  credentials:\n  - {username: u, password_file: /f}\n  - docker_config: 5%\n  - helper: x\n  - anonymous: true\n",
		"tags: {rules: [{match: 'a/{b,[c]}/**:v?', fresh: 1h}], max_stale: 0}\nquota: {reserve: 7%, probe: 1m, per_client: 3}\n", "tags: {rules: []}\nquota: {reserve: 007}\n",
		"upstreams: [docker.io, ghcr.io, {name: a, url: http://a, aliases: [b, c], bandwidth: [{limit: 1MiB}], fallbacks: []}]\n",
		"cache: {dir: null, min_free: 0x10}\n", "log: {level: !!str info}\n", "%YAML 1.2\n---\na: 1\n...\n---\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := read(data)
		if err != nil {
			var failure *Error
			if !errors.As(err, &failure) || len(failure.Problems) == 0 {
				t.Fatalf("got %#v, want an *Error with problems", err)
			}
			for _, problem := range failure.Problems {
				if !placed.MatchString(problem) {
					t.Errorf("not one line that tells a place: %q", problem)
				}
			}
			return
		}
		roundTrip(t, c)
	})
}
