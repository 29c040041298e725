package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"mirrord/internal/oci"
)

const (
	maxLink   = 256     // bytes of a file of distribution that has a digest
	maxLinked = 1 << 20 // tags and manifests of a registry that are imported
)

// registryDirs are where the directory of a registry has its data: it is named by its
// rootdirectory, or as any directory below.
var registryDirs = []string{"docker/registry/v2", "registry/v2", "v2", "."}

// ErrNotRegistry says that a directory is not that of a registry.
var ErrNotRegistry = errors.New("this is not the directory of a registry: it has no docker/registry/v2 with blobs and repositories; name the rootdirectory of its configuration")

// directory is that of a registry (distribution), which is imported.
type directory struct {
	*importer
	root *os.Root
	base string // in root, with blobs and repositories
	seen map[oci.Digest]bool
}

// root is one manifest of a repository.
type root struct {
	ref     oci.Ref // by tag, or by digest
	digest  oci.Digest
	checked time.Time
}

// ImportDirectory reads the directory of a registry (distribution 2 or 3), whose
// repositories are those of upstream, into the cache: by hard links where nobody else can
// write the files and both are on one file system, else by copies. The registry may run.
// Parts that it does not have are fetched from the upstream when a client wants them.
// Otherwise it is as Import.
func ImportDirectory(ctx context.Context, dir, upstream string, c Cache, t Tags, o ImportOptions) (Summary, error) {
	o.Partial = true
	opened, err := os.OpenRoot(dir)
	if err != nil {
		return Summary{}, readable(err)
	}
	defer func() { _ = opened.Close() }()
	d := &directory{importer: newImporter(c, t, o), root: opened, seen: make(map[oci.Digest]bool)}
	defer d.release()
	if d.base, err = findBase(opened); err != nil {
		return d.sum, err
	}
	roots, err := d.roots(ctx, upstream)
	if err != nil {
		return d.sum, err
	}
	for _, r := range roots {
		if err := d.image(ctx, r); err != nil {
			return d.sum, fmt.Errorf("%s: %w", r.ref, err)
		}
	}
	return d.sum, nil
}

// readable says what to do about a file that must not be read.
func readable(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w; mirrord runs as user %d: let that user read the directory, for example with: setfacl -R -m u:%[2]d:rX DIR", err, os.Geteuid())
}

func findBase(opened *os.Root) (string, error) {
	for _, base := range registryDirs {
		found := 0
		for _, name := range []string{"blobs", "repositories"} {
			info, err := opened.Stat(path.Join(base, name))
			if errors.Is(err, fs.ErrPermission) {
				return "", readable(err)
			}
			if err == nil && info.IsDir() {
				found++
			}
		}
		if found == 2 {
			return base, nil
		}
	}
	return "", ErrNotRegistry
}

// roots returns the tags of all repositories, and then their manifests by digest.
func (d *directory) roots(ctx context.Context, upstream string) ([]root, error) {
	var tagged, others []root
	files := d.root.FS()
	repositories := path.Join(d.base, "repositories")
	err := fs.WalkDir(files, repositories, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return readable(err)
		case entry.IsDir() && isHistory(name):
			return fs.SkipDir
		case entry.IsDir() || entry.Name() != "link":
			return nil
		case len(tagged)+len(others) >= maxLinked:
			return fmt.Errorf("there are more than %d tags and manifests", maxLinked)
		}
		r, err := d.readLink(name, strings.TrimPrefix(name, repositories+"/"), upstream)
		switch {
		case err != nil:
			d.sum.Images = append(d.sum.Images, Imported{Image: clip(name), Error: err.Error()})
		case r.ref.ByDigest():
			others = append(others, r)
		default:
			tagged = append(tagged, r)
		}
		return nil
	})
	return append(tagged, others...), err
}

// isHistory reports whether a directory of a repository has nothing that is imported by
// itself: layers, uploads, what a tag named before, and signatures of old registries.
func isHistory(name string) bool {
	switch path.Base(name) {
	case "_layers", "_uploads":
		return true
	case "index", "signatures":
		return strings.Contains(name, "/_manifests/") && !strings.HasSuffix(path.Dir(name), "/tags")
	}
	return false
}

// readLink reads the link of a tag or a manifest, below repositories:
//
//	<name>/_manifests/tags/<tag>/current/link
//	<name>/_manifests/revisions/<algorithm>/<hex>/link
func (d *directory) readLink(file, below, upstream string) (root, error) {
	repository, rest, _ := strings.Cut(below, "/_manifests/")
	parts := strings.Split(rest, "/")
	f, info, err := d.open(file)
	if err != nil {
		return root{}, readable(err)
	}
	defer func() { _ = f.Close() }()
	raw, err := readBounded(f, maxLink)
	if err != nil {
		return root{}, err
	}
	digest, err := oci.ParseDigest(strings.TrimSpace(string(raw)))
	if err != nil {
		return root{}, err
	}
	reference := digest.String()
	if len(parts) == 4 && parts[0] == "tags" {
		reference = parts[1]
	}
	ref, err := oci.ParseManifest(upstream, repository, reference)
	return root{ref, digest, info.ModTime()}, err
}

// open opens a regular file. A link in the directory can lead nowhere but into it.
func (d *directory) open(name string) (*os.File, os.FileInfo, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// image imports a manifest with what it names, and tags it.
func (d *directory) image(ctx context.Context, r root) error {
	if err := d.manifest(ctx, r.ref, r.digest, 0); err != nil {
		return err
	}
	if done := d.tagRef(ctx, Imported{Image: r.ref.String(), Digest: r.digest}, r.ref, r.checked); !r.ref.ByDigest() {
		d.sum.Images = append(d.sum.Images, done)
	}
	return nil
}

// manifest imports a manifest and what it names, as far as the registry has it.
func (d *directory) manifest(ctx context.Context, ref oci.Ref, digest oci.Digest, depth int) error {
	if d.seen[digest] || depth > maxDepth {
		return nil
	}
	d.seen[digest] = true
	if err := d.blob(ctx, digest); err != nil {
		return err
	}
	doc, _, err := readDocument(ctx, d.cache, ref, digest)
	if err != nil {
		return nil // it is not there, or not a manifest: that is said of its tag
	}
	for _, child := range doc.Manifests {
		if err := d.manifest(ctx, ref, child.Digest, depth+1); err != nil {
			return err
		}
	}
	for _, b := range doc.blobs() {
		if d.seen[b.Digest] {
			continue
		}
		d.seen[b.Digest] = true
		if err := d.blob(ctx, b.Digest); err != nil {
			return err
		}
	}
	return nil
}

// blob imports a blob if the registry has it, and drops one that is damaged there.
func (d *directory) blob(ctx context.Context, digest oci.Digest) error {
	if d.hold(digest) {
		d.sum.Present++
		return ctx.Err()
	}
	hex := digest.Encoded()
	f, info, err := d.open(path.Join(d.base, "blobs", digest.Algorithm().String(), hex[:2], hex, "data"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return readable(err)
	}
	defer func() { _ = f.Close() }()
	err = d.take(ctx, digest, f, info)
	switch {
	case errors.Is(err, oci.ErrCorrupt):
		d.sum.Damaged++
		return nil
	case err != nil:
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	d.hold(digest)
	d.note(info.Size())
	return nil
}

// take links or copies a file.
func (d *directory) take(ctx context.Context, digest oci.Digest, f *os.File, info os.FileInfo) error {
	if isOurs(info) {
		err := d.cache.Link(ctx, digest, info.Size(), f)
		if err == nil {
			d.sum.Linked++
		}
		if !isUnlinkable(err) {
			return err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return d.cache.Put(ctx, digest, info.Size(), f)
}

// isOurs reports whether nobody but this process's user can write a file: a link to it
// is as good as a copy.
func isOurs(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid() && info.Mode().Perm()&0o022 == 0
}

// isUnlinkable reports whether err is about linking: the content may be copied.
func isUnlinkable(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EMLINK)
}
