package config

import (
	"fmt"
	"net/url"
	"strings"
)

// Fleet is what the mirror shares with others.
type Fleet struct {
	S3 S3
}

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

const fleetS3Key = "fleet.s3"

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

// finishFleet reports a key of an object store that is only half there.
func (l *loader) finishFleet() {
	s := l.config.Fleet.S3
	if (s.AccessKey == "") != (s.SecretKeyFile == "") {
		l.problem(l.origins[fleetS3Key], "has only one of access_key and secret_key_file; write both, or neither to use AWS_ACCESS_KEY_ID, the shared credentials file or the role of the instance")
	}
}
