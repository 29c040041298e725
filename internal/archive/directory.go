package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// Unpacked is what Unpack has done so far.
type Unpacked struct {
	Blobs   int   `json:"blobs"` // that are new
	Bytes   int64 `json:"bytes"` // of them
	Present int   `json:"present"`
}

// Unpack writes the archive that r has as an OCI image layout to a directory. Blobs that
// are there, and are what they are called, stay as they are. The index is written last:
// what breaks off before can be repeated.
func Unpack(r io.Reader, dir string) (Unpacked, error) {
	var done Unpacked
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return done, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return done, err
	}
	defer func() { _ = root.Close() }()
	var index []byte
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return done, err
		}
		switch kind, d := parseName(path.Clean(h.Name)); kind {
		case indexFile:
			if index, err = readBounded(t, maxIndex); err != nil {
				return done, err
			}
		case blobFile:
			if err := done.blob(root, t, d, h.Size); err != nil {
				return done, fmt.Errorf("%s: %w", h.Name, err)
			}
		}
	}
	if index == nil {
		return done, io.ErrUnexpectedEOF
	}
	layout := fmt.Appendf(nil, `{"imageLayoutVersion":%q}`, ocispec.ImageLayoutVersion)
	return done, errors.Join(replace(root, ocispec.ImageLayoutFile, layout), replace(root, ocispec.ImageIndexFile, index))
}

// blob writes one blob, unless it is there.
func (u *Unpacked) blob(root *os.Root, source io.Reader, d oci.Digest, size int64) error {
	name := BlobPath(d)
	if isBlob(root, name, d, size) {
		u.Present++
		return nil
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	verifier := d.Verifier()
	if err := writeAside(root, name, io.TeeReader(source, verifier), func() error {
		if !verifier.Verified() {
			return oci.ErrCorrupt
		}
		return nil
	}); err != nil {
		return err
	}
	u.Blobs++
	u.Bytes += size
	return nil
}

func isBlob(root *os.Root, name string, d oci.Digest, size int64) bool {
	f, err := root.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() != size {
		return false
	}
	verifier := d.Verifier()
	_, err = io.Copy(verifier, f)
	return err == nil && verifier.Verified()
}

func replace(root *os.Root, name string, raw []byte) error {
	return writeAside(root, name, bytes.NewReader(raw), func() error { return nil })
}

// writeAside writes a file beside name, syncs it, and renames it when check agrees.
func writeAside(root *os.Root, name string, source io.Reader, check func() error) error {
	aside := name + ".part"
	f, err := root.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, source)
	if err == nil {
		err = check()
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		return root.Rename(aside, name)
	}
	_ = root.Remove(aside)
	return err
}

// Pack writes an OCI image layout in a directory as a tar, the index first.
func Pack(ctx context.Context, w io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	t := tar.NewWriter(w)
	for _, name := range []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile} {
		if err := packFile(t, root, name); err != nil {
			return fmt.Errorf("%s is not an OCI image layout: %w", dir, err)
		}
	}
	err = fs.WalkDir(root.FS(), ocispec.ImageBlobsDir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if kind, _ := parseName(filepath.ToSlash(name)); kind != blobFile || !entry.Type().IsRegular() {
			return nil
		}
		return packFile(t, root, name)
	})
	if err != nil {
		return err
	}
	return t.Close()
}

// packFile writes one file with the time at which it was written.
func packFile(t *tar.Writer, root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := header(name, info.Size())
	h.ModTime = info.ModTime()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, io.LimitReader(f, info.Size()))
	return err
}
