package hubsim

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// archive is a gzipped tar in memory.
type archive []byte

func (a archive) open() io.ReadCloser { return io.NopCloser(bytes.NewReader(a)) }

// program returns a busybox that runs on the platform, or a text instead.
func program(path string, platform v1.Platform) []byte {
	if path == "" {
		path = "/bin/busybox"
	}
	if content, err := os.ReadFile(path); err == nil && runs(content, platform) {
		return content
	}
	return fmt.Appendf(nil, "This would be a busybox for %s.\n", platform)
}

// runs reports whether content is a statically linked program for the platform.
func runs(content []byte, platform v1.Platform) bool {
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil || platform.OS != "linux" || file.Machine != machines[platform.Architecture] {
		return false
	}
	return !slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// rootfs returns a layer with which a container can start.
func rootfs(busybox []byte, platform v1.Platform, seed uint64) (archive, error) {
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(zip)
	for _, dir := range []string{"bin/", "etc/", "tmp/"} {
		entry(w, tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}, nil)
	}
	entry(w, tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, busybox)
	for _, name := range []string{"cat", "echo", "ls", "sh", "sleep", "true", "uname"} {
		entry(w, tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777}, nil)
	}
	passwd := []byte("root:x:0:0:root:/:/bin/sh\n")
	entry(w, tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, passwd)
	issue := fmt.Appendf(nil, "hubsim %s %d\n", platform, seed)
	entry(w, tar.Header{Typeflag: tar.TypeReg, Name: "etc/issue", Mode: 0o644}, issue)
	if err := w.Close(); err != nil { // also returns the error of an entry
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// entry writes an entry; its error is returned by the Close of w.
func entry(w *tar.Writer, header tar.Header, content []byte) {
	header.Size = int64(len(content))
	header.ModTime = created().Time
	if err := w.WriteHeader(&header); err == nil {
		_, _ = w.Write(content)
	}
}

// randomLayer packs one file of noise for each reader. It is stored, not compressed,
// because noise cannot be.
func randomLayer(i int, size int64, seed uint64) tarball.Opener {
	return func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { // ends with the last byte, or when r is closed
			w.CloseWithError(packNoise(w, fmt.Sprintf("layer-%d", i), size, seed<<16+uint64(i)))
		}()
		return r, nil
	}
}

func packNoise(w io.Writer, name string, size int64, seed uint64) error {
	zip, err := gzip.NewWriterLevel(w, gzip.NoCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zip)
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: created().Time}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.CopyN(archive, noise(seed), size); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zip.Close()
}
