package config

import (
	"strings"
	"testing"
)

func TestFileProblems(t *testing.T) {
	const (
		keys         = "listen, listeners, admin, metrics, cache, clients, access, tags, quota, status, warm, notify, offline, fleet, upstreams, log"
		upstreamKeys = "name, url, aliases, hosts, repository_prefix, fallbacks, username, password_file, credentials, token_hosts, private_networks, " +
			"ca_file, client_cert_file, client_key_file, insecure_skip_verify, proxy, connect_timeout, response_timeout, max_fills, bandwidth, tag_rules"
		credentialKeys = "name, username, password_file, docker_config, helper, anonymous"
		kinds          = "write either username and password_file, or docker_config, or helper, or anonymous: true"
	)
	// in is a file of one upstream with these credentials, which start on line 4.
	in := func(credentials string) string {
		return "upstreams:\n  - name: a\n    url: http://a\n" + credentials
	}
	for _, test := range []struct{ name, yaml, want string }{
		{"unknown key", "cache:\n  dir: /d\n  maxsize: 1\n",
			`mirrord.yaml:3:3: unknown key "cache.maxsize"; did you mean "cache.max_size"?`},
		{"unknown key like none", "cache:\n  colour: red\n",
			`mirrord.yaml:2:3: unknown key "cache.colour"; expected one of: cache.dir, cache.max_size, cache.min_free, cache.max_pinned, cache.max_fills, cache.scrub`},
		{"key of another group", "max_size: 1GiB\n",
			`mirrord.yaml:1:1: unknown key "max_size"; did you mean "cache.max_size"?`},
		{"dotted key", "cache.max_size: 1GiB\n",
			`mirrord.yaml:1:1: unknown key "cache.max_size"; write max_size inside the mapping cache`},
		{"number as key", "5000: x\n",
			`mirrord.yaml:1:1: unknown key "5000"; expected one of: ` + keys},
		{"repeated key", "listen: :1\nlog: {level: info}\nlisten: :2\n",
			`mirrord.yaml:3:1: listen: is also set on line 1; keep one`},
		{"complex key", "? listen\n: :1\n",
			`mirrord.yaml:1:1: is not a plain key; write one of ` + keys},
		{"merge key", "<<: {listen: ':1'}\n",
			`mirrord.yaml:1:1: is not a plain key; write one of ` + keys},

		{"size", "cache:\n\n  # big\n  max_size: 50 apples\n",
			`mirrord.yaml:4:13: cache.max_size: "50 apples" is not a size; write a number with a unit, such as 50GiB`},
		{"size of nothing", "cache: {max_size: 0}\n",
			`mirrord.yaml:1:19: cache.max_size: "0" is too small; write a size above 0, such as 50GiB`},
		{"negative size", "cache: {min_free: -1}\n",
			`mirrord.yaml:1:19: cache.min_free: "-1" is not a size; write a number with a unit, such as 50GiB`},
		{"duration", "tags:\n  fresh: 5\n",
			`mirrord.yaml:2:10: tags.fresh: "5" is not a duration; write a number with a unit, such as 30s, 1m, 2h or 7d`},
		{"negative duration", "tags:\n  fresh: -5s\n",
			`mirrord.yaml:2:10: tags.fresh: "-5s" is negative; write 0 or more, such as 1m or 30s`},
		{"address", "listen: 5000\n",
			`mirrord.yaml:1:9: listen: "5000" is not an address; write host:port with a port from 0 to 65535, such as 127.0.0.1:5000`},
		{"port", "admin: {listen: 'localhost:65536'}\n",
			`mirrord.yaml:1:17: admin.listen: "localhost:65536" is not an address; write host:port with a port from 0 to 65535, such as 127.0.0.1:5000`},
		{"socket in a long path", "admin: {listen: 'unix:/a" + strings.Repeat("b", 106) + "'}\n",
			`mirrord.yaml:1:17: admin.listen: "/a` + strings.Repeat("b", 106) + `" is longer than the 107 bytes that the path of a socket may have; write a shorter one, such as unix:/run/mirrord/admin.sock`},
		{"socket without a path", "admin: {listen: 'unix:'}\n",
			`mirrord.yaml:1:17: admin.listen: is empty; write a value or leave it out`},
		{"long path of a socket", "admin: {socket: '/a" + strings.Repeat("b", 106) + "'}\n",
			`mirrord.yaml:1:17: admin.socket: "/a` + strings.Repeat("b", 106) + `" is longer than the 107 bytes that the path of a socket may have; write a shorter one, such as /run/mirrord/admin.sock`},
		{"one socket twice", "admin: {listen: 'unix:/a', socket: /a}\n",
			`mirrord.yaml:1:36: admin.socket: unix:/a is the address of both admin.listen and admin.socket; give each its own`},
		{"socket as an address", "admin: {socket: 'unix:/run/a'}\n",
			`mirrord.yaml:1:17: admin.socket: "unix:/run/a" begins with unix:, which only admin.listen needs; write the path alone`},
		{"address of the metrics", "admin: {listen: ':1'}\nmetrics: {listen: ':1'}\n",
			`mirrord.yaml:2:19: metrics.listen: :1 is the address of both admin.listen and metrics.listen; give each its own`},
		{"word", "log: {level: loud}\n",
			`mirrord.yaml:1:14: log.level: "loud" is not valid; write debug, info, warn or error`},
		{"other word", "log: {format: yes}\n",
			`mirrord.yaml:1:15: log.format: "yes" is not valid; write auto, json or console`},
		{"sample", "log: {access_sample: 0}",
			`mirrord.yaml:1:22: log.access_sample: "0" is not a number of requests, 1 or more; write for example 100 to log one of a hundred`},
		{"empty text", "cache: {dir: ''}\n",
			`mirrord.yaml:1:14: cache.dir: is empty; write a value or leave it out`},
		{"several lines", "cache:\n  dir: |\n    /a\n    /b\n",
			`mirrord.yaml:2:8: cache.dir: "/a\n/b\n" contains unprintable characters; remove them`},
		{"no value", "listen:\n",
			`mirrord.yaml:1:9: listen: has no value; write one or remove the key`},

		{"mapping for a value", "listen:\n  host: x\n",
			`mirrord.yaml:2:3: listen: is a mapping; write a single value`},
		{"list for a value", "listen: [':1']\n",
			`mirrord.yaml:1:9: listen: is a list; write a single value`},
		{"value for a mapping", "cache: /d\n",
			`mirrord.yaml:1:8: cache: is a single value; write a mapping with the keys dir, max_size, min_free, max_pinned, max_fills, scrub`},
		{"list for a mapping", "cache:\n  - dir: /d\n",
			`mirrord.yaml:2:3: cache: is a list; write a mapping with the keys dir, max_size, min_free, max_pinned, max_fills, scrub`},
		{"list for the file", "- listen\n",
			`mirrord.yaml:1:1: is a list; write a mapping with the keys ` + keys},
		{"value for the file", "hello\n",
			`mirrord.yaml:1:1: is a single value; write a mapping with the keys ` + keys},
		{"mapping for a list", "upstreams:\n  name: docker.io\n",
			`mirrord.yaml:2:3: upstreams: is a mapping; write a list of mappings with the keys ` + upstreamKeys},
		{"list in a list", "upstreams:\n  - [docker.io]\n",
			`mirrord.yaml:2:5: upstreams[0]: is a list; write a mapping with the keys ` + upstreamKeys},

		{"anchor", "listen: &a ':1'\n",
			`mirrord.yaml:1:9: listen: has an anchor, alias or tag; write a single value, in quotes if it starts with *, & or !`},
		{"alias", "listen: *a\n",
			`mirrord.yaml:1:9: listen: has an anchor, alias or tag; write a single value, in quotes if it starts with *, & or !`},
		{"tag", "cache: !x {dir: /d}\n",
			`mirrord.yaml:1:8: cache: has an anchor, alias or tag; write a mapping with the keys dir, max_size, min_free, max_pinned, max_fills, scrub`},
		{"two documents", "listen: :1\n---\nlisten: :2\n",
			`mirrord.yaml:3:1: a second YAML document starts here; keep one`},
		{"syntax", "cache: [1,\n",
			`mirrord.yaml:1:8: invalid YAML: sequence end token ']' not found; check the indentation, with spaces only, and brackets and quotes`},
		{"tab", "cache:\n\tdir: /d\n",
			`mirrord.yaml:2:1: invalid YAML: found character '` + "\t" + `' that cannot start any token; check the indentation, with spaces only, and brackets and quotes`},
		{"encoding", "# é\nlisten: é\xff\n",
			`mirrord.yaml:2:10: is not UTF-8 text`},

		{"no upstream", "upstreams: []\n",
			`mirrord.yaml:1:12: upstreams: is empty; write at least one upstream, or leave it out for docker.io`},
		{"nothing for upstreams", "upstreams:\n",
			`mirrord.yaml:1:12: upstreams: is empty; write at least one upstream, or leave it out for docker.io`},
		{"unknown key of an upstream", "upstreams:\n  - name: a\n    uri: http://a\n",
			`mirrord.yaml:3:5: unknown key "upstreams[0].uri"; did you mean "upstreams[0].url"?`},
		{"password", "upstreams:\n  - {name: a, url: http://a, password: x}\n",
			`mirrord.yaml:2:30: unknown key "upstreams[0].password"; did you mean "upstreams[0].password_file"?`},
		{"same name", "upstreams:\n  - {name: a, url: http://a}\n  - {name: a, url: http://b}\n",
			`mirrord.yaml:3:5: upstreams[1]: has the name a, which upstreams[0] already uses; give each a unique name`},
		{"empty upstream", "upstreams:\n  -\n",
			"mirrord.yaml:2:5: upstreams[0]: has no name; write the host that image references start with, such as docker.io"},
		{"username alone", "upstreams:\n  - {name: a, url: http://a, username: u}\n",
			`mirrord.yaml:2:5: upstreams[0]: has a username but no password file; write both or neither`},
		{"password file alone", "upstreams:\n  - {name: a, url: http://a, password_file: /f}\n",
			`mirrord.yaml:2:5: upstreams[0]: has a password file but no username; write both or neither`},
		{"name", "upstreams:\n  - {name: Docker.io, url: http://a}\n",
			`mirrord.yaml:2:12: upstreams[0].name: "Docker.io" is not a valid registry name; write a lower-case host or host:port, such as docker.io`},
		{"url that ends in v2", "upstreams:\n  - {name: a, url: 'https://a:5000/nexus/v2/'}\n",
			`mirrord.yaml:2:20: upstreams[0].url: ends in /v2, which mirrord adds itself; write https://a:5000/nexus`},
		{"url of version 1", "upstreams:\n  - {name: docker.io, url: 'https://index.docker.io/v1/'}\n",
			`mirrord.yaml:2:28: upstreams[0].url: ends in /v1, which mirrord adds itself; write https://index.docker.io`},
		{"website", "upstreams:\n  - {name: docker.io, url: 'https://Hub.docker.com/r/library'}\n",
			`mirrord.yaml:2:28: upstreams[0].url: "https://Hub.docker.com/r/library" is a website, not a registry; write https://registry-1.docker.io`},
		{"home of a shell", "cache:\n  dir: ~/mirrord\n",
			`mirrord.yaml:2:8: cache.dir: "~/mirrord" starts with ~, which only a shell expands; write the full path`},
		{"days that overflow", "tags: {max_stale: 9999d2540000h}\n",
			`mirrord.yaml:1:19: tags.max_stale: "9999d2540000h" is not a duration; write a number with a unit, such as 30s, 1m, 2h or 7d`},
		{"sign behind days", "tags: {max_stale: 1d-1h}\n",
			`mirrord.yaml:1:19: tags.max_stale: "1d-1h" is not a duration; write a number with a unit, such as 30s, 1m, 2h or 7d`},
		{"url", "upstreams:\n  - {name: a, url: 'ftp://a'}\n",
			`mirrord.yaml:2:20: upstreams[0].url: "ftp://a" is not a valid registry URL; write http or https and a host, such as https://registry-1.docker.io`},

		{"unknown registry", "upstreams: [docker.io, corp.example]\n",
			`mirrord.yaml:1:24: upstreams[1]: has no url, and corp.example is not a registry that is known by name; write its address, such as url: https://corp.example`},
		{"no registry", "upstreams: [Docker]\n",
			`mirrord.yaml:1:13: upstreams[0]: "Docker" is not a valid registry name; write a lower-case host or host:port, such as docker.io`},
		{"reserved name", "upstreams: [{name: library, url: 'http://a'}]\n",
			`mirrord.yaml:1:13: upstreams[0]: has the reserved name library; write the host that image references start with`},
		{"fallback to itself", in("    fallbacks: [http://b, http://a]\n"),
			`mirrord.yaml:2:5: upstreams[0]: has the url http://a more than once; remove one`},
		{"fallback without https", "upstreams: [{name: docker.io, fallbacks: 'http://a'}]\n",
			`mirrord.yaml:1:13: upstreams[0]: has the fallback http://a, which does not use https as the registry does; write one that does`},
		{"alias twice", "upstreams: [{name: a, url: 'http://a', aliases: x}, {name: b, url: 'http://b', aliases: [y, x]}]\n",
			`mirrord.yaml:1:53: upstreams[1]: is known as x, and so is upstreams[0]; remove one`},
		{"host twice", "upstreams: [{name: a, url: 'http://a', hosts: x}, {name: b, url: 'http://b', hosts: x}]\n",
			`mirrord.yaml:1:51: upstreams[1]: has the host x, and so has upstreams[0]; remove one`},
		{"reserved alias", in("    aliases: [hub, library]\n"),
			`mirrord.yaml:4:20: upstreams[0].aliases[1]: "library" is reserved; write another word`},
		{"alias that is no name", in("    aliases: A/b\n"),
			`mirrord.yaml:4:14: upstreams[0].aliases: "A/b" is not a valid alias; write a lower-case word, host or host:port`},
		{"mapping for aliases", in("    aliases: {a: b}\n"),
			`mirrord.yaml:4:14: upstreams[0].aliases: is a mapping; write a single value`},
		{"prefix", in("    repository_prefix: /a/B/\n"),
			`mirrord.yaml:4:24: upstreams[0].repository_prefix: "/a/B/" is not a valid beginning of a repository name; write for example docker-proxy or team/docker-proxy`},
		{"network", in("    private_networks: [10.0.0.0/8, 10]\n"),
			`mirrord.yaml:4:36: upstreams[0].private_networks[1]: "10" is not a network; write for example 10.1.0.0/16`},
		{"network that is not private", in("    private_networks: 169.254.0.0/16\n"),
			`mirrord.yaml:4:23: upstreams[0].private_networks: "169.254.0.0/16" is not a private network, to which this is limited; public addresses need no entry, and the local link cannot be allowed`},
		{"certificate without a key", in("    client_cert_file: /c\n"),
			`mirrord.yaml:2:5: upstreams[0]: has only one of client_cert_file and client_key_file; write both or neither`},
		{"proxy", in("    proxy: proxy:3128\n"),
			`mirrord.yaml:4:12: upstreams[0].proxy: is not a valid proxy; write http, https or socks5 and a host, such as http://proxy.example:3128, or none`},
		{"proxy with a password", in("    proxy: http://u:s3cret@proxy\n"),
			`mirrord.yaml:4:12: upstreams[0].proxy: contains a user name or password, which this file must not; set HTTPS_PROXY in the environment instead`},
		{"timeout", in("    connect_timeout: 1m\n"),
			`mirrord.yaml:4:22: upstreams[0].connect_timeout: "1m" is not a timeout that clients can live with; write 1s to 25s`},
		{"verification", in("    insecure_skip_verify: no\n"),
			`mirrord.yaml:4:27: upstreams[0].insecure_skip_verify: "no" is neither true nor false; write one of them`},
		{"bandwidth without a limit", in("    bandwidth: [{days: mon}]\n"),
			`mirrord.yaml:4:17: upstreams[0].bandwidth[0]: has no limit; write how much may be downloaded in a second, such as 20MiB`},
		{"clock", in("    bandwidth: [{limit: 1MiB, from: '24:00'}]\n"),
			`mirrord.yaml:4:37: upstreams[0].bandwidth[0].from: "24:00" is not a time of day; write 00:00 to 23:59`},
		{"little bandwidth", in("    bandwidth: [{limit: 1}]\n"),
			`mirrord.yaml:4:25: upstreams[0].bandwidth[0].limit: "1" is too little for downloads to go on; write 64KiB or more`},
		{"days", in("    bandwidth: [{limit: 1MiB, days: mon-friday}]\n"),
			`mirrord.yaml:4:37: upstreams[0].bandwidth[0].days: "mon-friday" is not a list of days; write for example mon-fri or sat,sun`},

		{"both forms", in("    username: u\n    password_file: /f\n    credentials: [{anonymous: true}]\n"),
			`mirrord.yaml:2:5: upstreams[0]: has both credentials and a username or password_file; move that login into credentials`},
		{"half of both forms", in("    credentials: [{anonymous: true}]\n    password_file: /f\n"),
			`mirrord.yaml:2:5: upstreams[0]: has both credentials and a username or password_file; move that login into credentials`},
		{"mapping for credentials", in("    credentials:\n      helper: pass\n"),
			`mirrord.yaml:5:7: upstreams[0].credentials: is a mapping; write a list of mappings with the keys ` + credentialKeys},
		{"value in credentials", in("    credentials:\n      - anonymous\n"),
			`mirrord.yaml:5:9: upstreams[0].credentials[0]: is a single value; write a mapping with the keys ` + credentialKeys},
		{"unknown key of a credential", in("    credentials:\n      - helper: pass\n        nme: x\n"),
			`mirrord.yaml:6:9: unknown key "upstreams[0].credentials[0].nme"; did you mean "upstreams[0].credentials[0].name"?`},
		{"repeated key of a credential", in("    credentials:\n      - helper: pass\n        helper: x\n"),
			`mirrord.yaml:6:9: upstreams[0].credentials[0].helper: is also set on line 5; keep one`},
		{"credential of no kind", in("    credentials:\n      - name: x\n"),
			`mirrord.yaml:5:9: upstreams[0].credentials[0]: is not exactly one credential; ` + kinds},
		{"empty credential", in("    credentials:\n      -\n"),
			`mirrord.yaml:5:9: upstreams[0].credentials[0]: is not exactly one credential; ` + kinds},
		{"credential of two kinds", in("    credentials:\n      - {helper: pass, docker_config: /c}\n"),
			`mirrord.yaml:5:9: upstreams[0].credentials[0]: is not exactly one credential; ` + kinds},
		{"anonymous login", in("    credentials:\n      - {username: u, anonymous: true}\n"),
			`mirrord.yaml:5:9: upstreams[0].credentials[0]: is not exactly one credential; ` + kinds},
		{"username of a credential", in("    credentials:\n      - {username: u}\n"),
			`mirrord.yaml:5:9: upstreams[0].credentials[0]: has a username but no password file; write both or neither`},
		{"password file of a credential", in("    credentials:\n      - {password_file: /f}\n"),
			`mirrord.yaml:5:9: upstreams[0].credentials[0]: has a password file but no username; write both or neither`},
		{"credentials without names", in("    credentials:\n      - {username: u, password_file: /f}\n      - {helper: pass}\n      - {username: v, password_file: /g}\n"),
			`mirrord.yaml:7:9: upstreams[0].credentials[2]: has no name, so it is called login, which upstreams[0].credentials[0] already uses; give each a unique name`},
		{"credentials of one name", in("    credentials: [{helper: pass, name: x}, {docker_config: /c, name: x}]\n"),
			`mirrord.yaml:4:44: upstreams[0].credentials[1]: has the name x, which upstreams[0].credentials[0] already uses; give each a unique name`},
		{"anonymous first", in("    credentials: [{anonymous: true}, {helper: pass}]\n"),
			`mirrord.yaml:4:38: upstreams[0].credentials[1]: comes after upstreams[0].credentials[0], which is anonymous and used when the others have nothing left; put the anonymous one last`},
		{"not anonymous", in("    credentials: [{anonymous: false}]\n"),
			`mirrord.yaml:4:31: upstreams[0].credentials[0].anonymous: "false" is not valid; write true or leave it out`},
		{"helper", in("    credentials: [{helper: ../pass}]\n"),
			`mirrord.yaml:4:28: upstreams[0].credentials[0].helper: "../pass" is not a valid helper name; write the part of the program's name after docker-credential-, such as pass`},
		{"name of a credential", in("    credentials: [{helper: pass, name: u@example.org}]\n"),
			`mirrord.yaml:4:40: upstreams[0].credentials[0].name: "u@example.org" is not a valid credential name; write up to 32 lower-case letters, digits, _ and -, such as team-a`},

		{"no pattern", "tags:\n  rules:\n    - fresh: 1m\n",
			`mirrord.yaml:3:7: tags.rules[0]: has no match; write the tags that it applies to, such as match: '*:latest'`},
		{"no freshness", "tags: {rules: [{match: a}]}\n",
			`mirrord.yaml:1:16: tags.rules[0]: has no fresh; write how long its tags stay fresh, such as fresh: 1m`},
		{"pattern", "tags:\n  rules:\n    - {match: a, fresh: 1m}\n    - {match: 'a/[b', fresh: 1m}\n",
			`mirrord.yaml:4:15: tags.rules[1].match: "a/[b" is incomplete; close each [ and {, put something inside [], and do not end in \`},
		{"pattern without quotes", "tags:\n  rules:\n    - match: *:latest\n      fresh: 1m\n",
			`mirrord.yaml:3:14: tags.rules[0].match: has an anchor, alias or tag; write a single value, in quotes if it starts with *, & or !`},
		{"duration of a rule", "tags:\n  rules:\n    - match: a\n      fresh: 1\n",
			`mirrord.yaml:4:14: tags.rules[0].fresh: "1" is not a duration; write a number with a unit, such as 30s, 1m, 2h or 7d`},
		{"unknown key of a rule", "tags:\n  rules:\n    - match: a\n      frsh: 1m\n",
			`mirrord.yaml:4:7: unknown key "tags.rules[0].frsh"; did you mean "tags.rules[0].fresh"?`},
		{"mapping for rules", "tags:\n  rules:\n    '*:latest': 1m\n",
			`mirrord.yaml:3:5: tags.rules: is a mapping; write a list of mappings with the keys match, fresh`},
		{"stale while revalidate", "tags: {stale_while_revalidate: yes}\n",
			`mirrord.yaml:1:32: tags.stale_while_revalidate: "yes" is not a duration; write a number with a unit, such as 30s, 1m, 2h or 7d`},
		{"staleness", "tags: {max_stale: -1h}\n",
			`mirrord.yaml:1:19: tags.max_stale: "-1h" is negative; write 0 or more, such as 1m or 30s`},
		{"share", "quota: {reserve: 1.5%}\n",
			`mirrord.yaml:1:18: quota.reserve: "1.5%" is neither a percentage nor a number; write for example 10% or 20`},
		{"more than all", "quota: {reserve: 101%}\n",
			`mirrord.yaml:1:18: quota.reserve: "101%" is more than 100%; write 0% to 100%`},
		{"probe", "quota: {probe: 59s}\n",
			`mirrord.yaml:1:16: quota.probe: "59s" is too frequent and would burden the upstream; write 1m or more, or 0 for never`},
		{"duration of a probe", "quota: {probe: 15}\n",
			`mirrord.yaml:1:16: quota.probe: "15" is not a duration; write a number with a unit, such as 30s, 1m, 2h or 7d`},
		{"pulls of a client", "quota: {per_client: -1}\n",
			`mirrord.yaml:1:21: quota.per_client: "-1" is not a number of pulls; write for example 50, or 0 for no limit`},
		{"no downloads", "cache: {max_fills: 0}\n",
			`mirrord.yaml:1:20: cache.max_fills: "0" is not a number of downloads; write 1 or more, such as 32`},
		{"requests a second of a client", "clients: {requests_per_second: 0.5}\n",
			`mirrord.yaml:1:32: clients.requests_per_second: "0.5" is not a number of requests; write for example 50, or 0 for no limit`},
		{"connections of clients", "clients: {max_connections: -1}\n",
			`mirrord.yaml:1:28: clients.max_connections: "-1" is not a number of connections; write for example 50, or 0 for no limit`},
		{"bandwidth of clients", "clients: {bandwidth: 1KiB, total_bandwidth: fast}\n",
			`mirrord.yaml:1:22: clients.bandwidth: "1KiB" is too little for downloads to go on; write 64KiB or more, or 0 for no limit` + "\n" +
				`mirrord.yaml:1:45: clients.total_bandwidth: "fast" is not a size; write a number with a unit, such as 50GiB, or 0 for no limit`},
		{"requests of a client", "clients: {max_requests: many}\n",
			`mirrord.yaml:1:25: clients.max_requests: "many" is not a number of requests; write for example 50, or 0 for no limit`},
		{"scrub", "cache: {scrub: weekly}\n",
			`mirrord.yaml:1:16: cache.scrub: "weekly" is not a duration; write a number with a unit, such as 30s, 1m, 2h or 7d`},
		{"scrub all the time", "cache: {scrub: 1s}\n",
			`mirrord.yaml:1:16: cache.scrub: "1s" is too frequent and would keep the disk busy; write 1h or more, or 0 for never`},
		{"key of quota", "quota: {reserved: 1}\n",
			`mirrord.yaml:1:9: unknown key "quota.reserved"; did you mean "quota.reserve"?`},

		{"same address", "listen: :5000\nadmin: {listen: ':5000'}\n",
			`mirrord.yaml:2:17: admin.listen: :5000 is the address of both listen and admin.listen; give each its own`},
		{"address of the default", "listen: 127.0.0.1:5001\n",
			`mirrord.yaml:1:9: listen: 127.0.0.1:5001 is the address of both listen and admin.listen; give each its own`},
		{"same address of listeners", "listeners: [':5000', ':5002', {address: ':5000'}]\n",
			`mirrord.yaml:1:12: listeners: :5000 is the address of both listeners[0] and listeners[2]; give each its own`},
		{"listener without an address", "listeners: [{upstream: docker.io}]\n",
			`mirrord.yaml:1:13: listeners[0]: has no address; write host:port, such as 0.0.0.0:5002`},
		{"listener of an unknown upstream", "listeners: [{address: ':5002', upstream: ghcr.io}]\n",
			`mirrord.yaml:1:12: listeners: listeners[0] is for ghcr.io, which is not among upstreams; add it there`},
		{"certificate of a listener without its key", "listeners: [{address: ':5002', tls: {cert_file: /c}}]\n",
			`mirrord.yaml:1:37: listeners[0].tls: has no key_file; write the file with the key of the certificate`},
		{"ACME without domains", "listeners: [{address: ':443', acme: {email: a@b.example}}]\n",
			`mirrord.yaml:1:37: listeners[0].acme: has no domains; write the names that clients use for this listener, such as mirror.example.com`},
		{"ACME with no domain", "listeners: [{address: ':443', acme: {domains: []}}]\n",
			`mirrord.yaml:1:47: listeners[0].acme.domains: has no domains; write the names that clients use for this listener, such as mirror.example.com`},
		{"wildcard", "listeners: [{address: ':443', acme: {domains: ['*.b.example']}}]\n",
			`mirrord.yaml:1:48: listeners[0].acme.domains[0]: "*.b.example" is a wildcard, which needs changes in the DNS; write each name, or use tls with a certificate in files`},
		{"domain with a port", "listeners: [{address: ':443', acme: {domains: 'b.example:443'}}]\n",
			`mirrord.yaml:1:47: listeners[0].acme.domains: "b.example:443" is not a domain; write a name without a port, such as mirror.example.com`},
		{"e-mail address", "listeners: [{address: ':443', acme: {domains: b.example, email: me}}]\n",
			`mirrord.yaml:1:65: listeners[0].acme.email: "me" is not an e-mail address; write one such as ops@example.com, or leave it out`},
		{"ACME directory over HTTP", "listeners: [{address: ':443', acme: {domains: b.example, directory: 'http://ca/dir'}}]\n",
			`mirrord.yaml:1:69: listeners[0].acme.directory: is not the URL of an ACME directory; write https and a host, such as https://ca.example.com/acme/acme/directory`},
		{"TLS and ACME", "listeners: [{address: ':443', acme: {domains: b.example}, tls: {cert_file: /c, key_file: /k}}]\n",
			`mirrord.yaml:1:13: listeners[0]: has both tls and acme; keep acme to obtain certificates, or tls for those in files`},
		{"access rule without effect", "access:\n  rules:\n  - {repository: 'a/*'}\n",
			`mirrord.yaml:3:5: access.rules[0]: must have one of allow: true, deny: true, min_age and require_signature; write one of them`},
		{"access rule with both effects", "access: {rules: [{allow: true, deny: true}]}\n",
			`mirrord.yaml:1:18: access.rules[0]: must have one of allow: true, deny: true, min_age and require_signature; write one of them`},
		{"access rule on trial that allows", "access: {rules: [{allow: true, dry_run: true}]}\n",
			`mirrord.yaml:1:18: access.rules[0]: has dry_run, which is for rules that refuse something; remove it`},
		{"access rule with an effect and an age", "access: {rules: [{deny: true, min_age: 7d}]}\n",
			`mirrord.yaml:1:18: access.rules[0]: must have one of allow: true, deny: true, min_age and require_signature; write one of them`},
		{"access rule with a signature and an age", "access: {rules: [{require_signature: /k, min_age: 7d}]}\n",
			`mirrord.yaml:1:18: access.rules[0]: must have one of allow: true, deny: true, min_age and require_signature; write one of them`},
		{"access rule with no key", "access: {rules: [{require_signature: []}]}\n",
			`mirrord.yaml:1:18: access.rules[0]: must have one of allow: true, deny: true, min_age and require_signature; write one of them`},
		{"access rule of no age", "access: {rules: [{min_age: 0s}]}\n",
			`mirrord.yaml:1:28: access.rules[0].min_age: "0s" is no age; write for example 168h or 7d, or remove the rule`},
		{"access rule for all", "access: {rules: [{deny: true}]}\n",
			`mirrord.yaml:1:18: access.rules[0]: denies everything; write a rule with allow: true before it`},
		{"access rule of an unknown upstream", "access: {rules: [{deny: true, upstream: ghcr.io}]}\n",
			`mirrord.yaml:1:17: access.rules: access.rules[0] is for ghcr.io, which is not among upstreams; add it there or remove the rule`},
		{"access rule with a broken pattern", "access: {rules: [{deny: true, repository: 'a/[b', tag: 'a/b'}]}\n",
			`mirrord.yaml:1:43: access.rules[0].repository: "a/[b" is not a pattern of a repository; write for example library/* or acme/**` + "\n" +
				`mirrord.yaml:1:56: access.rules[0].tag: "a/b" is not a pattern of a tag; write for example latest or v1.*`},
		{"access rule of nobody", "access: {rules: [{deny: true, who: alice, from: 10.0.0.0/40}]}\n",
			`mirrord.yaml:1:36: access.rules[0].who: "alice" is not an identity; write anonymous, or for example user:alice, user:*, token:ci, cert:CN=build-* or jwt:repo:acme/**` + "\n" +
				`mirrord.yaml:1:49: access.rules[0].from: "10.0.0.0/40" is not a network; write for example 10.1.0.0/16 or 192.0.2.7`},
		{"all at once", "listen: x\nlog: {level: y}\nz: 1\n",
			`mirrord.yaml:1:9: listen: "x" is not an address; write host:port with a port from 0 to 65535, such as 127.0.0.1:5000` + "\n" +
				`mirrord.yaml:2:14: log.level: "y" is not valid; write debug, info, warn or error` + "\n" +
				`mirrord.yaml:3:1: unknown key "z"; expected one of: ` + keys},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.yaml, nil)
			wantProblems(t, err, strings.Split(test.want, "\n")...)
		})
	}
}

func TestMissingFile(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := LoadFile("mirrord.yaml")
	wantProblems(t, err, "mirrord.yaml: cannot be read: no such file or directory")
	_, err = LoadFile(".")
	wantProblems(t, err, ".: cannot be read: is a directory")
}

func TestEnvironmentProblems(t *testing.T) {
	for _, test := range []struct{ name, entry, want string }{
		{"size", "MIRRORD_CACHE_MAX_SIZE=x", `MIRRORD_CACHE_MAX_SIZE: "x" is not a size; write a number with a unit, such as 50GiB`},
		{"unknown", "MIRRORD_CACHE_SIZE=1", `MIRRORD_CACHE_SIZE: unknown variable; did you mean "MIRRORD_CACHE_MAX_SIZE"?`},
		{"unknown like none", "MIRRORD_FOO=1", `MIRRORD_FOO: unknown variable; expected one of: MIRRORD_CONFIG, MIRRORD_LISTEN, MIRRORD_LISTENERS, MIRRORD_ADMIN_LISTEN, MIRRORD_ADMIN_SOCKET, MIRRORD_ADMIN_TOKEN_FILE, MIRRORD_METRICS_LISTEN, ` +
			`MIRRORD_CACHE_DIR, MIRRORD_CACHE_MAX_SIZE, MIRRORD_CACHE_MIN_FREE, MIRRORD_CACHE_MAX_PINNED, MIRRORD_CACHE_MAX_FILLS, MIRRORD_CACHE_SCRUB, MIRRORD_CLIENTS_MAX_REQUESTS, MIRRORD_CLIENTS_REQUESTS_PER_SECOND, MIRRORD_CLIENTS_MAX_CONNECTIONS, MIRRORD_CLIENTS_BANDWIDTH, MIRRORD_CLIENTS_TOTAL_BANDWIDTH, MIRRORD_CLIENTS_CATALOG, MIRRORD_CLIENTS_ALLOW, MIRRORD_CLIENTS_DENY, MIRRORD_CLIENTS_TRUSTED_PROXIES, MIRRORD_ACCESS_PRIVATE, MIRRORD_ACCESS_RULES, MIRRORD_ACCESS_AUDIT_LOG, MIRRORD_TAGS_FRESH, MIRRORD_TAGS_RULES, MIRRORD_TAGS_STALE_WHILE_REVALIDATE, MIRRORD_TAGS_MAX_STALE, MIRRORD_TAGS_MAX_SILENCE, ` +
			`MIRRORD_QUOTA_RESERVE, MIRRORD_QUOTA_PROBE, MIRRORD_QUOTA_PER_CLIENT, MIRRORD_STATUS_CLIENTS, MIRRORD_WARM_LISTS, MIRRORD_NOTIFY, MIRRORD_OFFLINE, MIRRORD_FLEET_S3, MIRRORD_FLEET_NODE, MIRRORD_FLEET_LISTEN, MIRRORD_FLEET_ADVERTISE, MIRRORD_FLEET_SECRET_FILE, MIRRORD_FLEET_LEASES, MIRRORD_FLEET_PRIVATE, MIRRORD_FLEET_UPLOAD_BANDWIDTH, MIRRORD_FLEET_MAX_AGE, MIRRORD_UPSTREAMS, MIRRORD_LOG_LEVEL, MIRRORD_LOG_ACCESS, MIRRORD_LOG_ACCESS_SAMPLE, MIRRORD_LOG_FORMAT`},
		{"spelling", "MIRRORD_LOGLEVL=x", `MIRRORD_LOGLEVL: unknown variable; did you mean "MIRRORD_LOG_LEVEL"?`},
		{"file", "MIRRORD_CONFIG=gone.yaml", `gone.yaml: cannot be read: no such file or directory`},
		{"no upstream", "MIRRORD_UPSTREAMS= ", `MIRRORD_UPSTREAMS: is empty; write at least one upstream, or leave it out for docker.io`},
		{"rule", "MIRRORD_TAGS_RULES=match=a,fresh=1m match=a:,fresh=1m",
			`MIRRORD_TAGS_RULES[1].match: "a:" has no tag after the colon; write for example a:latest, or omit the colon to match every tag`},
		{"no name", "MIRRORD_UPSTREAMS=name=a,url=http://a url=http://b",
			`MIRRORD_UPSTREAMS[1]: has no name; write the host that image references start with, such as docker.io`},
		{"same name", "MIRRORD_UPSTREAMS=name=a,url=http://a name=a,url=http://b",
			`MIRRORD_UPSTREAMS[1]: has the name a, which MIRRORD_UPSTREAMS[0] already uses; give each a unique name`},
		{"same address", "MIRRORD_ADMIN_LISTEN=127.0.0.1:5000",
			`MIRRORD_ADMIN_LISTEN: 127.0.0.1:5000 is the address of both listen and admin.listen; give each its own`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, "", []string{test.entry})
			wantProblems(t, err, test.want)
		})
	}
}

func TestServiceLinks(t *testing.T) {
	environ := []string{
		"MIRRORD_SERVICE_HOST=10.0.0.1", "MIRRORD_SERVICE_PORT=5000", "MIRRORD_SERVICE_PORT_HTTP=5000",
		"MIRRORD_PORT=tcp://10.0.0.1:5000", "MIRRORD_PORT_5000_TCP=tcp://10.0.0.1:5000", "MIRRORD_PORT_5000_TCP_ADDR=10.0.0.1",
		"MIRRORD_ADMIN_SERVICE_HOST=10.0.0.2", "MIRRORD_ADMIN_PORT_5001_TCP_PROTO=tcp",
	}
	if _, err := load(t, "", environ); err != nil {
		t.Errorf("variables of a Kubernetes Service: %v", err)
	}
}

func TestFlagProblems(t *testing.T) {
	for _, test := range []struct{ name, arg, want string }{
		{"size", "--cache-max-size=50 apples", `--cache-max-size: "50 apples" is not a size; write a number with a unit, such as 50GiB`},
		{"empty", "--listen=", `--listen: "" is not an address; write host:port with a port from 0 to 65535, such as 127.0.0.1:5000`},
		{"rule", "--tags-rule=*:latest", `--tags-rule[0]: part 1 is not key=value; write for example match=VALUE`},
		{"half a rule", "--tags-rule=match=*:latest", `--tags-rule[0]: has no fresh; write how long its tags stay fresh, such as fresh: 1m`},
		{"pattern", "--tags-rule=match={a,b,fresh=1m", `--tags-rule[0].match: "{a,b,fresh=1m" contains "=", which no repository name can; write lower-case letters, digits and . _ - /`},
		{"credentials", "--upstream=name=a,url=http://a,credentials=anonymous", `--upstream[0].credentials: is a list; write it in the file given by --config`},
		{"no file", "--config=", `--config: is empty; name a file or leave the flag out`},
		{"unknown upstream", "--upstream=corp.example", `--upstream[0]: has no url, and corp.example is not a registry that is known by name; write its address, such as url: https://corp.example`},
		{"half an upstream", "--upstream=docker.io,url=http://a", `--upstream[0]: part 1 is not key=value; write for example name=VALUE`},
		{"unknown key", "--upstream=name=a,url=http://a,password=/f", `--upstream[0]: unknown key "password"; did you mean "password-file"?`},
		{"repeated key", "--upstream=name=a,name=b,url=http://a", `--upstream[0].name: is set twice; keep one`},
		{"value", "--upstream=name=a,url=a", `--upstream[0].url: "a" is not a valid registry URL; write http or https and a host, such as https://registry-1.docker.io`},
		{"empty value", "--upstream=name=a,url=http://a,username=,password-file=/f", `--upstream[0].username: is empty; write a value or leave it out`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, "", nil, test.arg)
			wantProblems(t, err, test.want)
		})
	}
}

func TestEverySourceIsReported(t *testing.T) {
	_, err := load(t, "listn: x\n", []string{"MIRRORD_TAGS_FRESH=x"}, "--log-format=x")
	wantProblems(t, err,
		`mirrord.yaml:1:1: unknown key "listn"; did you mean "listen"?`,
		`MIRRORD_TAGS_FRESH: "x" is not a duration; write a number with a unit, such as 30s, 1m, 2h or 7d`,
		`--log-format: "x" is not valid; write auto, json or console`)
}
