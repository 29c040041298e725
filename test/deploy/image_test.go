package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// The image that the manifests name.
const (
	imageVersion = "v0.1.0"
	imageName    = "mirrord:" + imageVersion
)

// image is what make image builds, unpacked.
type image struct {
	root   string
	config struct {
		User            string
		Entrypoint, Cmd []string
		Env             []string
	}
}

// unpackImage returns the image in a directory of its own, as each container has one.
func unpackImage(t *testing.T) image {
	t.Helper()
	files := readArchive(t, filepath.Join(prepared, "mirrord-"+imageVersion+"-linux-"+runtime.GOARCH+"-docker.tar"))
	var manifests []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	decode(t, files["manifest.json"], &manifests)
	if got := manifests[0].RepoTags[0]; got != imageName {
		t.Fatalf("make image builds %s, want %s", got, imageName)
	}
	i := image{root: t.TempDir()}
	var config struct{ Config any }
	config.Config = &i.config
	decode(t, files[manifests[0].Config], &config)
	for _, layer := range manifests[0].Layers {
		unpacked, err := gzip.NewReader(bytes.NewReader(files[layer]))
		check(t, err)
		eachEntry(t, unpacked, func(h *tar.Header, content []byte) { unpackEntry(t, i.root, h, content) })
	}
	check(t, os.Chmod(i.root, 0o755))
	return i
}

func unpackEntry(t *testing.T, root string, h *tar.Header, content []byte) {
	t.Helper()
	path := filepath.Join(root, h.Name)
	if h.Typeflag == tar.TypeDir {
		check(t, os.MkdirAll(path, 0o755))
	} else {
		check(t, os.WriteFile(path, content, 0o644))
	}
	check(t, errors.Join(os.Chmod(path, h.FileInfo().Mode()), os.Chown(path, h.Uid, h.Gid)))
}

// container returns a container of the image as it runs by itself.
func (i image) container(t *testing.T) container {
	t.Helper()
	user, group, ok := strings.Cut(i.config.User, ":")
	uid, err := strconv.Atoi(user)
	gid, failed := strconv.Atoi(group)
	if err := errors.Join(err, failed); err != nil || !ok {
		t.Fatalf("the image has the user %q, want numbers", i.config.User)
	}
	return container{Root: i.root, Args: append(i.config.Entrypoint, i.config.Cmd...), Env: i.config.Env, UID: uid, GID: gid}
}

// command replaces the entry point and the arguments of the image by those that are set.
func (i image) command(command, args []string) []string {
	if len(command) > 0 {
		return append(command, args...)
	}
	if len(args) > 0 {
		return append(i.config.Entrypoint, args...)
	}
	return append(i.config.Entrypoint, i.config.Cmd...)
}

func readArchive(t *testing.T, path string) map[string][]byte {
	t.Helper()
	file, err := os.Open(path)
	check(t, err)
	defer func() { _ = file.Close() }()
	files := make(map[string][]byte)
	eachEntry(t, file, func(h *tar.Header, content []byte) { files[h.Name] = content })
	return files
}

func eachEntry(t *testing.T, r io.Reader, do func(*tar.Header, []byte)) {
	t.Helper()
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		check(t, err)
		content, err := io.ReadAll(archive)
		check(t, err)
		do(h, content)
	}
}

func decode(t *testing.T, text []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
