// Package login knows where the user names and passwords for upstreams come
// from. Each is read again when it is needed, so a change needs no restart. No
// error holds a part of a secret.
package login

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Login is an authn.Authenticator whose secret may change while it is used. Its
// methods may be called concurrently.
type Login struct {
	read      func(context.Context) (*authn.AuthConfig, error)
	file      string // that holds the secret, or empty
	anonymous bool
}

// readTime bounds how long a secret is waited for: it may be a program's answer.
const readTime = 10 * time.Second

// Authorization is AuthorizationContext without a context.
func (l *Login) Authorization() (*authn.AuthConfig, error) {
	return l.AuthorizationContext(context.Background())
}

// AuthorizationContext reads the secret. It fails when ctx ends, or after ten
// seconds.
func (l *Login) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	return l.read(ctx)
}

// Check reads the secret and says why that fails.
func (l *Login) Check(ctx context.Context) error {
	_, err := l.AuthorizationContext(ctx)
	return err
}

// IsAnonymous reports whether it is no login at all.
func (l *Login) IsAnonymous() bool { return l.anonymous }

// Stamp changes when the file that holds the secret does. It is empty for what
// is in no file, and while the file cannot be looked at.
func (l *Login) Stamp() string {
	if l.file == "" {
		return ""
	}
	info, err := os.Stat(l.file)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
}

// Anonymous is no login.
func Anonymous() *Login {
	return &Login{
		anonymous: true,
		read:      func(context.Context) (*authn.AuthConfig, error) { return &authn.AuthConfig{}, nil },
	}
}

// File is a login whose password is in the file at path, without one newline at
// its end. An empty password is an error.
func File(username, path string) *Login {
	return &Login{file: path, read: func(context.Context) (*authn.AuthConfig, error) {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read password file %s: %w", path, cause(err))
		}
		password := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
		if password == "" {
			return nil, fmt.Errorf("password file %s is empty", path)
		}
		return &authn.AuthConfig{Username: username, Password: password}, nil
	}}
}

// cause is a file's error without its path.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
