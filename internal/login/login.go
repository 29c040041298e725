// Package login reads the user names and passwords for upstreams. They are read
// again whenever they are needed, so a change needs no restart. No error contains
// a part of a secret.
package login

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Login is an authn.Authenticator whose secret may change while it is used. Its
// methods may be called concurrently.
type Login struct {
	read      func(context.Context) (*authn.AuthConfig, error)
	file      string // with the secret, or empty
	anonymous bool
	optional  bool                   // it may read as anonymous
	user      atomic.Pointer[string] // that was read last; nil: none was
	first     sync.Once              // reads it for Used, if it is optional
	found     atomic.Bool            // and there was a login, or one that cannot be read
}

// readTime is the time limit for reading a secret, which may run a program.
const readTime = 10 * time.Second

// Authorization is AuthorizationContext without a context.
func (l *Login) Authorization() (*authn.AuthConfig, error) {
	return l.AuthorizationContext(context.Background())
}

// AuthorizationContext reads the secret. It fails when the secret cannot be read,
// when ctx is done, or after ten seconds.
func (l *Login) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	limited, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	found, err := l.read(limited)
	if err == nil && *found != (authn.AuthConfig{}) || err != nil && ctx.Err() == nil {
		l.found.Store(true)
	}
	if err == nil {
		l.user.Store(&found.Username)
	}
	return found, err
}

// User returns the user name that was read last, empty before and if there is none.
func (l *Login) User() string {
	if user := l.user.Load(); user != nil {
		return *user
	}
	return ""
}

// Check reads the secret and returns the error.
func (l *Login) Check(ctx context.Context) error {
	_, err := l.AuthorizationContext(ctx)
	return err
}

// IsAnonymous reports whether l is Anonymous.
func (l *Login) IsAnonymous() bool { return l.anonymous }

// Used reports whether a request may have been sent with l, by another process before
// this one, too: always, unless l is Anonymous, or Default and no configuration with a
// login for it was found so far. The first call reads that.
func (l *Login) Used() bool {
	if !l.optional {
		return !l.anonymous
	}
	l.first.Do(func() { _ = l.Check(context.Background()) }) // an error is found, too
	return l.found.Load()
}

// Stamp returns a value that changes whenever the file with the secret does. It is
// empty if there is no file or it cannot be read.
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

// Anonymous returns the Login of anonymous requests.
func Anonymous() *Login {
	return &Login{
		anonymous: true,
		read:      func(context.Context) (*authn.AuthConfig, error) { return &authn.AuthConfig{}, nil },
	}
}

// File returns the Login of username with the password in the file at path, without
// a trailing newline. Reading it fails when the password is empty.
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

// cause returns the error of a file operation without the path.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
