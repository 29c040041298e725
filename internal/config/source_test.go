package config

import "testing"

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
