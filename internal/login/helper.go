package login

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// tokenUser is the user name with which a helper returns an identity token.
const tokenUser = "<token>"

// Helper returns the Login for host from the program docker-credential-<name> in
// PATH, with the protocol of docker/docker-credential-helpers.
func Helper(name, host string) *Login {
	program := "docker-credential-" + name
	return &Login{read: func(ctx context.Context) (*authn.AuthConfig, error) {
		var err error
		for _, entry := range entries(host) {
			var login *authn.AuthConfig
			if login, err = get(ctx, program, entry); err == nil {
				return login, nil
			}
		}
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("cannot run %s: not found in $PATH; install it, or correct the name of the helper", program)
		}
		return nil, fmt.Errorf("%s has no login for %s: %w", program, host, err)
	}}
}

// get runs the program once. Errors do not quote its output, which may be a secret.
func get(ctx context.Context, program, entry string) (*authn.AuthConfig, error) {
	var out bytes.Buffer
	command := exec.CommandContext(ctx, program, "get")
	command.Stdin = bytes.NewBufferString(entry)
	command.Stdout = &out
	command.WaitDelay = time.Second // its child processes may hold the pipe open
	if err := command.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("it timed out: %w", context.Cause(ctx))
		}
		return nil, err
	}
	var found struct{ Username, Secret string }
	if json.Unmarshal(out.Bytes(), &found) != nil || found.Secret == "" {
		return nil, fmt.Errorf("its output contains no login")
	}
	if found.Username == tokenUser {
		return &authn.AuthConfig{IdentityToken: found.Secret}, nil
	}
	return &authn.AuthConfig{Username: found.Username, Password: found.Secret}, nil
}
