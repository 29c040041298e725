package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestFleetNames finds that what Kubernetes calls a node and a pod will do: a long name, and
// an IPv6 address with or without brackets.
func TestFleetNames(t *testing.T) {
	long := strings.Repeat("node-1.", 36) + "a" // 253 bytes
	for given, want := range map[string]string{
		"10.0.0.7:5003":           "10.0.0.7:5003",
		"[fd00::7]:5003":          "[fd00::7]:5003",
		"fd00::7:5003":            "[fd00::7]:5003",
		"fd00:1:2:3:4:5:6:7:5003": "[fd00:1:2:3:4:5:6:7]:5003",
		"mirror-1:5003":           "mirror-1:5003",
	} {
		cfg, err := load(t, fmt.Sprintf("fleet: {s3: {endpoint: 'http://a', bucket: abc}, secret_file: /s, node: %s, listen: ':5003', advertise: '%s'}\n", long, given), nil)
		if err != nil {
			t.Error(err)
		} else if cfg.Fleet.Advertise != want || cfg.Fleet.Node != long {
			t.Errorf("advertise %s: %s of %s", given, cfg.Fleet.Advertise, cfg.Fleet.Node)
		}
	}
	for _, given := range []string{"fd00::5003", "::5003", "[::]:5003", ":::5003", "10.0.0.7", "a:b:5003"} {
		if cfg, err := load(t, fmt.Sprintf("fleet: {advertise: '%s'}\n", given), nil); err == nil {
			t.Errorf("%s is accepted as %s", given, cfg.Fleet.Advertise)
		}
	}
}

// TestFleetProblems finds that what is wrong with a fleet is reported where it stands.
func TestFleetProblems(t *testing.T) {
	for _, test := range []struct{ name, yaml, want string }{
		{"bucket alone", "fleet: {s3: {bucket: abc}}\n",
			`mirrord.yaml:1:13: fleet.s3: has no endpoint; write the URL of the object store, such as https://s3.eu-central-1.amazonaws.com`},
		{"key without a secret", "fleet: {s3: {endpoint: 'http://a', bucket: abc, access_key: k}}\n",
			`mirrord.yaml:1:13: fleet.s3: has only one of access_key and secret_key_file; write both, or neither to use AWS_ACCESS_KEY_ID, the shared credentials file or the role of the instance`},
		{"endpoint with a login", "fleet: {s3: {endpoint: 'http://u:secret@a', bucket: abc}}\n",
			`mirrord.yaml:1:24: fleet.s3.endpoint: is not the URL of an object store; write http or https and a host, such as https://s3.eu-central-1.amazonaws.com`},
		{"bucket in capitals", "fleet: {s3: {endpoint: 'http://a', bucket: Fleet}}\n",
			`mirrord.yaml:1:44: fleet.s3.bucket: "Fleet" is not the name of a bucket; write 3 to 63 lower-case letters, digits, dots and hyphens`},
		{"siblings without a bucket", "fleet: {listen: ':5003', secret_file: /s, advertise: 'a:5003'}\n",
			`mirrord.yaml:1:17: fleet.listen: has no effect without fleet.s3; name the bucket that the mirrors share
mirrord.yaml:1:39: fleet.secret_file: has no effect without fleet.s3; name the bucket that the mirrors share`},
		{"siblings without a secret", "fleet: {s3: {endpoint: 'http://a', bucket: abc}, listen: '127.0.0.1:5003'}\n",
			`mirrord.yaml:1:58: fleet.listen: needs fleet.secret_file: mirrors answer only those that know the fleet's secret`},
		{"siblings on all addresses", "fleet: {s3: {endpoint: 'http://a', bucket: abc}, secret_file: /s, listen: '[::]:5003'}\n",
			`mirrord.yaml:1:75: fleet.listen: needs fleet.advertise: host:port at which the other mirrors reach this one`},
		{"no address to reach", "fleet: {s3: {endpoint: 'http://a', bucket: abc}, secret_file: /s, listen: 'a:5003', advertise: ':5003'}\n",
			`mirrord.yaml:1:96: fleet.advertise: ":5003" is not an address that other mirrors can reach; write host:port, such as 10.0.0.7:5003`},
		{"leases without siblings", "fleet: {s3: {endpoint: 'http://a', bucket: abc}, leases: require}\n",
			`mirrord.yaml:1:58: fleet.leases: needs fleet.listen, where the other mirrors read what this one is downloading`},
		{"name of a mirror", "fleet: {node: 'a/b'}\n",
			`mirrord.yaml:1:15: fleet.node: "a/b" is not a name of a mirror; write up to 253 letters, digits, dots, hyphens and underscores`},
		{"private content without a secret", "fleet: {s3: {endpoint: 'http://127.0.0.1:9000', bucket: abc}, private: share}\n",
			`mirrord.yaml:1:72: fleet.private: needs fleet.secret_file: the names of private repositories are hashed under the fleet's secret`},
		{"private content in the clear", "fleet: {s3: {endpoint: 'http://s3.example', bucket: abc}, secret_file: /s, private: share}\n",
			`mirrord.yaml:1:85: fleet.private: needs an https endpoint in fleet.s3: private content would be sent in the clear`},
		{"slow uploads", "fleet: {upload_bandwidth: 64KiB}\n",
			`mirrord.yaml:1:27: fleet.upload_bandwidth: "64KiB" is too little for uploads to go on; write 256KiB or more, or 0 for no limit`},
		{"short age", "fleet: {max_age: 1h}\n",
			`mirrord.yaml:1:18: fleet.max_age: "1h" is too short; write 1d or more`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.yaml, nil)
			wantProblems(t, err, strings.Split(test.want, "\n")...)
		})
	}
}
