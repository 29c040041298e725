package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/oci"
)

// holdings is what lies in a cache directory.
type holdings struct {
	blobs []oci.Digest
	parts []oci.Digest // unfinished fills
	bytes int64        // of both

	indexes int // that were damaged and quarantined
}

// takeStock hashes every blob in a cache directory that no process uses, and
// fails at anything that does not belong there.
func takeStock(dir string) (holdings, error) {
	var h holdings
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch at := strings.Split(name, string(filepath.Separator)); {
		case name == "index":
			return fs.SkipDir
		case strings.HasPrefix(name, "index.damaged-"):
			h.indexes++
			return fs.SkipDir
		case name == "." || name == "lock" || name == "format" || name == "admin-token" || name == "admin.sock" || name == "fills" || at[0] == "blobs" && len(at) < 4 && entry.IsDir():
			return nil
		case at[0] == "blobs" && len(at) == 4:
			return h.countBlob(path, oci.Digest(at[1]+":"+at[3]))
		case at[0] == "fills" && len(at) == 2:
			return h.countPart(path, at[1])
		}
		return fmt.Errorf("%s does not belong there", path)
	})
	return h, err
}

func (h *holdings) countBlob(path string, d oci.Digest) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if got, err := digest.FromReader(file); err != nil || got != d {
		return fmt.Errorf("%s hashes to %s, %v", path, got, err)
	}
	size, err := file.Seek(0, io.SeekCurrent)
	h.blobs = append(h.blobs, d)
	h.bytes += size
	return err
}

func (h *holdings) countPart(path, name string) error {
	id, _, _ := strings.Cut(name, ".")
	d, err := oci.ParseDigest(strings.Replace(id, "-", ":", 1))
	if err != nil {
		return fmt.Errorf("%s is a part of nothing: %w", path, err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if slices.Contains(h.parts, d) {
		return fmt.Errorf("%s is one of two of its digest", path)
	}
	h.parts = append(h.parts, d)
	h.bytes += info.Size()
	return nil
}
