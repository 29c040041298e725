package login

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// hub is the name of Docker Hub in configurations; other registries go by their
// host.
const (
	hub      = "docker.io"
	hubEntry = authn.DefaultAuthKey
)

// entries returns the names under which a login for host may be stored.
func entries(host string) []string {
	if host == hub {
		return []string{hubEntry, "index.docker.io", hub, "registry-1.docker.io"}
	}
	return []string{host, "https://" + host}
}

// DockerConfig returns the Login for host in the Docker config.json at path: one in
// the file, or from a credential helper that the file names. Reading it fails when
// there is none.
func DockerConfig(path, host string) *Login {
	return &Login{file: path, read: func(ctx context.Context) (*authn.AuthConfig, error) {
		file, err := load(path)
		if err != nil {
			return nil, err
		}
		return withContext(ctx, func() (*authn.AuthConfig, error) {
			return find(file, path, host)
		})
	}}
}

func load(path string) (*configfile.ConfigFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, cause(err))
	}
	defer func() { _ = f.Close() }()
	file, err := config.LoadFromReader(f)
	if err != nil { // not wrapped: the message may quote the file
		return nil, fmt.Errorf("%s is not a valid Docker configuration", path)
	}
	return file, nil
}

func find(file *configfile.ConfigFile, path, host string) (*authn.AuthConfig, error) {
	for _, entry := range entries(host) {
		found, err := file.GetAuthConfig(entry)
		if err != nil { // not wrapped: the message may quote the helper's output
			return nil, fmt.Errorf("the credential helper for %s, configured in %s, failed", host, path)
		}
		a := authn.AuthConfig{
			Username: found.Username, Password: found.Password,
			IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken,
		}
		if a != (authn.AuthConfig{}) {
			return &a, nil
		}
	}
	return nil, fmt.Errorf("%s has no login for %s: run docker login with that configuration", path, host)
}

// withContext returns the result of read, or the error of ctx if that is done first.
// Then read continues in the background: the libraries that it calls take no
// context.
func withContext(ctx context.Context, read func() (*authn.AuthConfig, error)) (*authn.AuthConfig, error) {
	type result struct {
		login *authn.AuthConfig
		err   error
	}
	done := make(chan result, 1)
	go func() {
		login, err := read()
		done <- result{login, err}
	}()
	select {
	case r := <-done:
		return r.login, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("timed out reading the login: %w", context.Cause(ctx))
	}
}

// Default returns the Login for host in the default configuration of Docker or
// podman; it reads as anonymous when they have none.
func Default(host string) *Login {
	if host == hub {
		host = name.DefaultRegistry
	}
	registry, err := name.NewRegistry(host)
	if err != nil {
		return Anonymous() // not a registry host: no configuration has a login for it
	}
	return &Login{optional: true, read: func(ctx context.Context) (*authn.AuthConfig, error) {
		return withContext(ctx, func() (*authn.AuthConfig, error) {
			auth, err := authn.DefaultKeychain.Resolve(registry)
			if err != nil { // not wrapped: the message may quote the file
				return nil, errors.New("cannot read the configuration of Docker or podman: fix it, or set credentials in the mirror's configuration")
			}
			return authn.Authorization(ctx, auth)
		})
	}}
}
