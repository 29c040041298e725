package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Fleet is what the mirror shares with others.
type Fleet struct {
	S3         S3
	Node       string // the mirror's name among them; empty: that of the host
	Listen     string // host:port for them; empty: none
	Advertise  string // host:port that they reach it at; set if Listen is
	SecretFile string // what all of them know; empty: only content is shared
	Leases     string // LeasesAuto, require or off
	Private    string // PrivateOff or PrivateShare
	MaxAge     time.Duration

	UploadBandwidth Size // bytes a second, all uploads together; 0: no limit
}

// Values of Fleet.Leases.
const (
	LeasesAuto    = "auto"    // if the store can
	LeasesRequire = "require" // the mirror does not run without
	LeasesOff     = "off"
)

// Values of Fleet.Private.
const (
	PrivateOff   = "off"   // only what is everybody's is shared
	PrivateShare = "share" // the rest, too, among mirrors that the upstream lets have it
)

// S3 is a bucket on an object store.
type S3 struct {
	Endpoint      string // URL with scheme and host; empty: there is none
	Bucket        string
	Prefix        string // of the keys; empty, or with a slash at its end
	Region        string // empty: the store is asked
	PathStyle     bool   // the bucket is in the path
	CAFile        string // roots of the store's certificate; empty: the system's
	AccessKey     string // empty: credentials come from the environment
	SecretKeyFile string
}

const (
	fleetS3Key        = "fleet.s3"
	fleetListenKey    = "fleet.listen"
	fleetAdvertiseKey = "fleet.advertise"
	fleetSecretKey    = "fleet.secret_file"
	fleetLeasesKey    = "fleet.leases"
	fleetPrivateKey   = "fleet.private"
)

var s3Table = table[S3]{
	scalar("endpoint", parseEndpoint, func(s *S3) *string { return &s.Endpoint }).
		required("has no endpoint; write the URL of the object store, such as https://s3.eu-central-1.amazonaws.com"),
	scalar("bucket", parseBucket, func(s *S3) *string { return &s.Bucket }).
		required("has no bucket; write the name of an existing one"),
	scalar("prefix", parseKeyPrefix, func(s *S3) *string { return &s.Prefix }),
	scalar("region", parseRegion, func(s *S3) *string { return &s.Region }),
	scalar("path_style", parseFlag, func(s *S3) *yes { return (*yes)(&s.PathStyle) }),
	scalar("ca_file", parsePath, func(s *S3) *string { return &s.CAFile }),
	scalar("access_key", parseAccessKey, func(s *S3) *string { return &s.AccessKey }),
	scalar("secret_key_file", parsePath, func(s *S3) *string { return &s.SecretKeyFile }),
}

// Enabled reports whether there is a bucket.
func (s S3) Enabled() bool { return s.Endpoint != "" }

// parseEndpoint accepts the URL of an object store.
func parseEndpoint(s string) (string, error) {
	u, err := url.Parse(strings.TrimRight(s, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || !printable(s) {
		return "", fmt.Errorf("is not the URL of an object store; write http or https and a host, such as https://s3.eu-central-1.amazonaws.com")
	}
	return u.String(), nil
}

// parseBucket accepts what object stores accept as the name of a bucket.
func parseBucket(s string) (string, error) {
	if len(s) < 3 || len(s) > 63 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return "", fmt.Errorf("%q is not the name of a bucket; write 3 to 63 lower-case letters, digits, dots and hyphens", s)
	}
	return s, nil
}

func parseRegion(s string) (string, error) {
	if len(s) > 63 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "", fmt.Errorf("%q is not a region; write one such as eu-central-1", s)
	}
	return s, nil
}

// parseKeyPrefix accepts the beginning of keys, and ends it with a slash.
func parseKeyPrefix(s string) (string, error) {
	s = strings.Trim(s, "/")
	if len(s) > 200 || !printable(s) || strings.Contains(s, "//") || strings.ContainsAny(s, " \\?#%") {
		return "", fmt.Errorf("%q is not a prefix of keys; write words with slashes between them, such as mirrord/office", s)
	}
	return s + "/", nil
}

// parseAccessKey accepts the name of a key of an object store, which is no secret.
func parseAccessKey(s string) (string, error) {
	if len(s) > 128 || !printable(s) || strings.ContainsAny(s, " /=") {
		return "", fmt.Errorf("is not an access key; write the key's id, and its secret in the file that fleet.s3.secret_key_file names")
	}
	return s, nil
}

const maxNode = 253 // as long as a host name gets (RFC 1123), and that of a node of Kubernetes

// parseNode accepts a name that can be a part of a key.
func parseNode(s string) (string, error) {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	if len(s) > maxNode || strings.Trim(s, letters+strings.ToUpper(letters)+"0123456789.-_") != "" {
		return "", fmt.Errorf("%q is not a name of a mirror; write up to %d letters, digits, dots, hyphens and underscores", s, maxNode)
	}
	return s, nil
}

// parseAdvertise accepts an address that others can reach.
func parseAdvertise(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	host, port, err := splitAddress(s)
	address, _ := netip.ParseAddr(host)
	if err != nil || !isPort(port) || port == "0" || !isHost(host) || host == "" || address.IsUnspecified() {
		return "", fmt.Errorf("%q is not an address that other mirrors can reach; write host:port, such as 10.0.0.7:5003", s)
	}
	return net.JoinHostPort(host, port), nil
}

// splitAddress splits host:port. An IPv6 address needs no brackets: a manifest of Kubernetes
// puts a pod's address before the port and does not know which kind it is.
func splitAddress(s string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(s)
	if i := strings.LastIndexByte(s, ':'); err != nil && i > 0 {
		if address, bad := netip.ParseAddr(s[:i]); bad == nil && address.Is6() {
			return s[:i], s[i+1:], nil
		}
	}
	return host, port, err
}

// minUploadRate lets two uploads at once go on before they are given up for being slow.
const minUploadRate = 256 << 10

// parseUploadRate accepts a rate, or 0 for no limit.
func parseUploadRate(s string) (Size, error) {
	size, err := parseSize(s)
	if err == nil && size != 0 && size < minUploadRate {
		err = fmt.Errorf("%q is too little for uploads to go on; write 256KiB or more, or 0 for no limit", s)
	}
	return size, err
}

// parseMaxAge accepts how old objects get.
func parseMaxAge(s string) (duration, error) {
	d, err := parseDuration(s)
	if err == nil && time.Duration(d) < 24*time.Hour {
		return 0, fmt.Errorf("%q is too short; write 1d or more", s)
	}
	return d, err
}

// finishFleet reports what is only half there.
func (l *loader) finishFleet() {
	f := &l.config.Fleet
	for _, setting := range []struct {
		key string
		set bool
	}{{fleetListenKey, f.Listen != ""}, {fleetSecretKey, f.SecretFile != ""}, {fleetLeasesKey, f.Leases == LeasesRequire}, {fleetPrivateKey, f.Private == PrivateShare}} {
		if setting.set && !f.S3.Enabled() {
			l.problem(l.origins[setting.key], "has no effect without fleet.s3; name the bucket that the mirrors share")
		}
	}
	if f.Listen != "" && f.SecretFile == "" {
		l.problem(l.origins[fleetListenKey], "needs fleet.secret_file: mirrors answer only those that know the fleet's secret")
	}
	if f.Leases == LeasesRequire && f.Listen == "" {
		l.problem(l.origins[fleetLeasesKey], "needs fleet.listen, where the other mirrors read what this one is downloading")
	}
	if f.Private == PrivateShare && f.S3.Enabled() {
		l.finishPrivate()
	}
	if host, _, _ := net.SplitHostPort(f.Listen); f.Listen != "" && f.Advertise == "" {
		if address, err := netip.ParseAddr(host); host == "" || err == nil && address.IsUnspecified() {
			l.problem(l.origins[fleetListenKey], "needs fleet.advertise: host:port at which the other mirrors reach this one")
		}
		f.Advertise = f.Listen
	}
	l.finishS3()
}

// finishPrivate reports what private content must not be shared without.
func (l *loader) finishPrivate() {
	f := l.config.Fleet
	if f.SecretFile == "" {
		l.problem(l.origins[fleetPrivateKey], "needs fleet.secret_file: the names of private repositories are hashed under the fleet's secret")
	}
	u, err := url.Parse(f.S3.Endpoint)
	if err != nil || u.Scheme == "https" || u.Hostname() == "localhost" {
		return
	}
	if address, err := netip.ParseAddr(u.Hostname()); err != nil || !address.IsLoopback() {
		l.problem(l.origins[fleetPrivateKey], "needs an https endpoint in fleet.s3: private content would be sent in the clear")
	}
}

// finishS3 reports a key of an object store that is only half there.
func (l *loader) finishS3() {
	s := l.config.Fleet.S3
	if (s.AccessKey == "") != (s.SecretKeyFile == "") {
		l.problem(l.origins[fleetS3Key], "has only one of access_key and secret_key_file; write both, or neither to use AWS_ACCESS_KEY_ID, the shared credentials file or the role of the instance")
	}
}
