package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// sums writes the checksums of everything in the directory, for sha256sum -c.
func (r *release) sums() error {
	const name = "SHA256SUMS"
	paths, err := filepath.Glob(filepath.Join(r.out, "mirrord*"))
	if err != nil {
		return err
	}
	return create(filepath.Join(r.out, name), func(file *os.File) error {
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(file, "%x  %s\n", sha256.Sum256(content), filepath.Base(path)); err != nil {
				return err
			}
		}
		return nil
	})
}
