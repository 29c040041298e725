package main

import (
	"fmt"
	"os"

	"mirrord/internal/fleet/keys"
)

// readFleetSecret reads the secret of a fleet; none without a file.
func readFleetSecret(file string) (keys.Secret, error) {
	if file == "" {
		return keys.Secret{}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return keys.Secret{}, fmt.Errorf("fleet.secret_file: %w", err)
	}
	defer func() { _ = f.Close() }()
	secret, err := keys.ReadSecret(f)
	if err != nil {
		return keys.Secret{}, fmt.Errorf("fleet.secret_file: %s %w", file, err)
	}
	return secret, nil
}
