package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"mirrord/internal/oci"
)

// partDir is the directory of unfinished fills.
type partDir struct {
	cache *Cache
	path  string
	boot  string // of the kernel, in the names of parts
}

func newPartDir(c *Cache) *partDir { return &partDir{cache: c, path: c.opts.Parts, boot: bootID()} }

// load takes stock of what an earlier process left unfinished, as far as it can be
// trusted. It fails when the directory cannot be read.
func (d *partDir) load() error {
	files, err := os.ReadDir(d.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a disk may be read-only from the beginning
		return fmt.Errorf("read unfinished fills: %w", err)
	}
	for _, file := range files {
		d.loadFile(file)
	}
	return nil
}

func (d *partDir) loadFile(file fs.DirEntry) {
	parts := d.cache.parts
	p := part{path: filepath.Join(d.path, file.Name())}
	name, ok := parsePart(file.Name())
	info, err := file.Info()
	if err == nil {
		p.written, p.ended = name.trusted(info.Size(), d.boot), info.ModTime()
	}
	if !ok || p.written <= parts.files[name.partKey].written { // not a part, empty, or there is a longer one
		removePart(p)
		return
	}
	if p.written < info.Size() && os.Truncate(p.path, p.written) != nil {
		return // on a read-only disk: its end would be trusted next time
	}
	if shorter := parts.put(name.partKey, p); shorter.exists() {
		removePart(shorter)
	}
}

// open opens the file for a fill of ref from source: that of the part left by an
// earlier one, when source can be read from where it ends, or a new one.
func (d *partDir) open(ref oci.Ref, source *oci.Content, left part) (part, error) {
	c := d.cache
	if left.exists() && resumable(source, left.written) {
		if file, err := d.reopen(&left); err == nil {
			c.mu.Lock()
			c.stats.Resumed++
			c.mu.Unlock()
			report2(c.opts.Hooks.Resumed, ref, left.written)
			left.file = file
			return left, nil
		}
	}
	if left.exists() {
		c.discardPart(left)
	}
	file, err := d.create(partName{partKey: partOf(ref), boot: d.boot}.prefix())
	if err != nil {
		return part{}, err
	}
	return part{file: file, path: file.Name()}, nil
}

// resumable reports whether source can be read from the offset written.
func resumable(source *oci.Content, written int64) bool {
	_, seeks := oci.Unverified(source.Body).(io.Seeker)
	return seeks && source.Size != oci.UnknownSize && written <= source.Size
}

// create makes a file for a fill, and the directory for it when somebody has
// removed that.
func (d *partDir) create(prefix string) (file *os.File, err error) {
	create := func() error {
		file, err = os.CreateTemp(d.path, prefix+"*")
		return err
	}
	if err := d.cache.evictor.write(0, create); !errors.Is(err, os.ErrNotExist) {
		return file, err
	}
	if err := os.MkdirAll(d.path, 0o750); err != nil {
		return nil, err
	}
	return file, d.cache.evictor.write(0, create)
}

// reopen opens p to continue with it. What is written from now on counts as of this
// boot.
func (d *partDir) reopen(p *part) (*os.File, error) {
	if name, ok := parsePart(filepath.Base(p.path)); ok {
		name.boot, name.synced = d.boot, min(name.synced, p.written)
		if err := renamePart(p, name); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(p.path, os.O_RDWR, 0)
}

// removeLeaving removes the files of parts whose bytes count as leaving.
func (d *partDir) removeLeaving(leaving []part) {
	if len(leaving) == 0 {
		return
	}
	var n int64
	for _, p := range leaving {
		removePart(p)
		n += p.written
	}
	d.cache.mu.Lock()
	defer d.cache.mu.Unlock()
	d.cache.space.leaving -= n
}

// syncTime bounds what sync takes of the end of the mirror, but for the file in
// hand.
const syncTime = 10 * time.Second

// sync writes the parts to the disk, and in their names how much that is: this may
// be the end of the machine. A name that does not get to the disk claims less than
// is there.
func (d *partDir) sync() {
	d.cache.mu.Lock()
	parts := maps.Clone(d.cache.parts.files)
	d.cache.mu.Unlock()
	begun := time.Now()
	for key, p := range parts {
		if time.Since(begun) > syncTime {
			return
		}
		if syncFile(p.path) == nil {
			_ = renamePart(&p, partName{key, d.boot, p.written})
		}
	}
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}
