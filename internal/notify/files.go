package notify

import (
	"crypto/x509"
	"maps"
	"net/http"
	"time"
)

// files is what the files of a target have. Each is nil when there is none.
type files struct {
	roots   *x509.CertPool
	headers http.Header
	key     []byte
}

// fileError is of a file that a target needs.
type fileError struct {
	setting string
	err     error
}

func (f fileError) Error() string { return f.setting + ": " + f.err.Error() }
func (f fileError) Unwrap() error { return f.err }

// CheckFiles reads the files of t, and fails with the first that cannot be used. The error
// has nothing of its content.
func (t Target) CheckFiles() error {
	_, err := t.read()
	return err
}

func (t Target) read() (f files, err error) {
	if t.Roots != nil {
		if f.roots, err = t.Roots(); err != nil {
			return f, fileError{"ca_file", err}
		}
	}
	if t.HeadersFile != "" {
		if f.headers, err = ReadHeaders(t.HeadersFile); err != nil {
			return f, fileError{"headers_file", err}
		}
	}
	if t.SecretFile != "" {
		if f.key, err = ReadSecret(t.SecretFile); err != nil {
			return f, fileError{"secret_file", err}
		}
	}
	return f, nil
}

// addTo adds the headers of m to h.
func (f files) addTo(h http.Header, m message) {
	h.Set("User-Agent", "mirrord")
	maps.Copy(h, f.headers)
	h.Set("Content-Type", contentType)
	if f.key != nil {
		sign(h, f.key, m, time.Now())
	}
}
