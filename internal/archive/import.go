package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

const (
	maxIndex   = 4 << 20 // bytes of the index of an archive
	maxLayout  = 4 << 10 // and of its version
	maxEntries = 1 << 17 // files of an archive
)

// ImportOptions of an import.
type ImportOptions struct {
	// Parse returns the image that a name means, or fails for one that is no upstream's.
	Parse func(name string) (oci.Ref, error)

	As      string // the name of the only image, whatever the archive calls it; empty: as it does
	Force   bool   // replace tags of which the mirror knows something newer
	Partial bool   // take images of which parts are missing: clients get those from the upstream

	Progress func(Summary) // called after each blob; may be nil
}

// Summary is what an import has done so far.
type Summary struct {
	Images  []Imported `json:"images,omitempty"`
	Blobs   int        `json:"blobs"`             // that are new
	Bytes   int64      `json:"bytes"`             // of them
	Linked  int        `json:"linked,omitempty"`  // of them by hard links
	Present int        `json:"present,omitempty"` // that were cached already
	Skipped int        `json:"skipped,omitempty"` // files that are no part of an image
	Damaged int        `json:"damaged,omitempty"` // of a registry's directory, which were left out
}

// Imported is what became of one image.
type Imported struct {
	Image  string     `json:"image"`
	Digest oci.Digest `json:"digest,omitempty"`
	Error  string     `json:"error,omitempty"` // why the tag was not imported
	Newer  bool       `json:"newer,omitempty"` // because the mirror has a newer one
	Notes  string     `json:"notes,omitempty"` // what is missing of one that was imported
}

// Failed returns how many images were not imported, but for those with newer tags.
func (s Summary) Failed() int {
	n := 0
	for _, image := range s.Images {
		if image.Error != "" && !image.Newer {
			n++
		}
	}
	return n
}

// importer is one import.
type importer struct {
	cache Cache
	tags  Tags
	o     ImportOptions
	sum   Summary
	held  []func() // what was imported stays until the end
	known map[oci.Digest]error
}

func newImporter(c Cache, t Tags, o ImportOptions) *importer {
	return &importer{cache: c, tags: t, o: o, known: make(map[oci.Digest]error)}
}

func (m *importer) release() {
	for _, release := range m.held {
		release()
	}
}

// Import reads an archive, a tar of an OCI image layout, into the cache. What is cached
// already is read past. Images are tagged at the end, when all of them is there. It fails
// when the archive is not one, is damaged, or does not fit; the Summary says what was
// imported all the same. Images that were not tagged are in the Summary.
func Import(ctx context.Context, source io.Reader, c Cache, t Tags, o ImportOptions) (Summary, error) {
	m := newImporter(c, t, o)
	defer m.release()
	index, err := m.readTar(ctx, source)
	if err == nil {
		err = m.tagAll(ctx, index)
	}
	return m.sum, err
}

// found is the index of an archive.
type found struct {
	raw  []byte // nil: not found yet
	made time.Time
}

// readTar caches the blobs of the archive and returns its index.
func (m *importer) readTar(ctx context.Context, source io.Reader) (found, error) {
	var index found
	buffered := bufio.NewReader(source)
	if err := checkTar(buffered); err != nil {
		return index, err
	}
	t := tar.NewReader(buffered)
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case err == io.EOF && index.raw == nil:
			return index, errors.New("the archive has no index.json: it is not an OCI image layout; make one with mirrord export, or with skopeo copy … oci-archive:FILE")
		case err == io.EOF:
			return index, nil
		case err != nil:
			return index, fmt.Errorf("the archive is damaged or truncated: %w", err)
		case n >= maxEntries:
			return index, fmt.Errorf("the archive has more than %d files", maxEntries)
		}
		if err := m.entry(ctx, t, h, &index); err != nil {
			return index, fmt.Errorf("%q in the archive: %w", clip(h.Name), err)
		}
	}
}

// checkTar refuses what is often taken for a tar.
func checkTar(r *bufio.Reader) error {
	for what, magic := range map[string]string{"gzip": "\x1f\x8b", "zstd": "\x28\xb5\x2f\xfd", "xz": "\xfd7zXZ"} {
		if begin, err := r.Peek(len(magic)); err == nil && bytes.Equal(begin, []byte(magic)) {
			return fmt.Errorf("the archive is compressed with %s: unpack that first, for example: %s -dc FILE | mirrord import-archive -", what, what)
		}
	}
	if _, err := r.Peek(1); err != nil {
		return fmt.Errorf("the archive is empty: %w", err)
	}
	return nil
}

// entry takes one file of the archive, if it is a part of the layout.
func (m *importer) entry(ctx context.Context, t *tar.Reader, h *tar.Header, index *found) error {
	name := path.Clean(h.Name)
	kind, blob := parseName(name)
	switch {
	case h.Typeflag == tar.TypeDir:
		return nil
	case kind == other:
		m.sum.Skipped++
		return nil
	}
	if err := checkHeader(h); err != nil {
		return err
	}
	switch kind {
	case layoutFile:
		return readLayout(t)
	case indexFile:
		if index.raw != nil {
			return errors.New("it is there twice")
		}
		var err error
		index.made = h.ModTime
		index.raw, err = readBounded(t, maxIndex)
		return err
	}
	return m.put(ctx, blob, h.Size, t)
}

// checkHeader refuses what is not a plain file: a sparse one can be larger than any disk
// in a kilobyte.
func checkHeader(h *tar.Header) error {
	if h.Typeflag != tar.TypeReg {
		return fmt.Errorf("it is a link or a device (type %q), and has to be a regular file", h.Typeflag)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return errors.New("it is a sparse file")
		}
	}
	return nil
}

// kind is what a file of an archive is.
type kind int

const (
	other kind = iota
	layoutFile
	indexFile
	blobFile
)

// parseName returns what a cleaned name stands for.
func parseName(name string) (kind, oci.Digest) {
	switch name {
	case ocispec.ImageLayoutFile:
		return layoutFile, ""
	case ocispec.ImageIndexFile:
		return indexFile, ""
	}
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != ocispec.ImageBlobsDir {
		return other, ""
	}
	d, err := oci.ParseDigest(parts[1] + ":" + parts[2])
	if err != nil {
		return other, ""
	}
	return blobFile, d
}

func readLayout(r io.Reader) error {
	raw, err := readBounded(r, maxLayout)
	if err != nil {
		return err
	}
	var layout ocispec.ImageLayout
	if err := json.Unmarshal(raw, &layout); err != nil {
		return fmt.Errorf("it is invalid JSON: %w", err)
	}
	if !strings.HasPrefix(layout.Version, "1.") {
		return fmt.Errorf("it has version %q; this mirrord reads version 1", clip(layout.Version))
	}
	return nil
}

func readBounded(r io.Reader, most int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	return raw, err
}

// put caches a blob unless it is there, and holds it until the import ends.
func (m *importer) put(ctx context.Context, d oci.Digest, size int64, source io.Reader) error {
	if m.hold(d) {
		m.sum.Present++
		return ctx.Err()
	}
	if err := m.cache.Put(ctx, d, size, source); err != nil {
		return err
	}
	m.hold(d)
	m.note(size)
	return nil
}

// hold holds d if it is cached.
func (m *importer) hold(d oci.Digest) bool {
	missing, release := m.cache.Hold(d)
	m.held = append(m.held, release)
	return len(missing) == 0
}

// note counts a new blob.
func (m *importer) note(size int64) {
	m.sum.Blobs++
	m.sum.Bytes += size
	if m.o.Progress != nil {
		m.o.Progress(m.sum)
	}
}

// clip shortens what an archive says for an error message.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
