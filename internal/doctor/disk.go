package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

const (
	diskChunk  = 1 << 20
	diskChunks = 4
	slowDisk   = time.Second // for all chunks
)

// networkFileSystems are types of statfs(2) on which fsync and rename are not those of a
// local disk.
var networkFileSystems = map[int64]string{0x6969: "NFS", 0xff534d42: "CIFS", 0xfe534d42: "SMB2", 0x65735546: "FUSE"}

// disk checks the cache directory: whether it takes files of this process, how long four
// synced writes of 1 MiB take, and whether the file system has MaxSize bytes for blobs
// beside other files and the MinFree bytes that stay free. It leaves nothing there.
func (m Mirror) disk(ctx context.Context) []Check {
	all, err := Use(ctx, m.Disk, m.look)
	if errors.Is(err, ErrDiskHangs) {
		return []Check{{"cache directory", Fail, fmt.Sprintf("%s: %v", m.Dir, err),
			"the disk hangs, or the server of a network file system is gone: see dmesg, and findmnt -T for what it is on"}}
	}
	return all // none when ctx has ended
}

// look does what disk says, as long as the disk takes for it.
func (m Mirror) look() []Check {
	var stat unix.Statfs_t
	if err := unix.Statfs(m.Dir, &stat); err != nil {
		return []Check{m.noDirectory(err)}
	}
	block := stat.Frsize // which the numbers of blocks are of, and not Bsize
	room := room{free: int64(stat.Bavail) * block, total: int64(stat.Blocks) * block, held: m.Holds}
	if !m.Process {
		room.held = held(m.Dir, time.Now().Add(walkTime))
	}
	return []Check{m.writes(), m.space(room), fileSystem(m.Dir, int64(stat.Type))}
}

// noDirectory is the check of a cache directory that cannot be looked at because of err.
func (m Mirror) noDirectory(err error) Check {
	c := Check{"cache directory", Warn, fmt.Sprintf("%s: %v", m.Dir, err), "mirrord serve makes it if it may; name another with cache.dir"}
	switch {
	case m.Process:
		c.State, c.Hint = Fail, "the mirror has it as its cache: mount it or make it again, owned by "+processUser()+", and restart the mirror"
	case errors.Is(err, fs.ErrPermission):
		c.Hint = hintAsMirror
	}
	return c
}

const hintAsMirror = "run mirrord doctor as the user of the mirror, such as with sudo -u mirrord"

func (m Mirror) writes() Check {
	start := time.Now()
	n, err := write(m.writable())
	return m.written(n, time.Since(start).Round(time.Millisecond), err)
}

// writable returns the directory that the mirror writes to: what is left there by a crash is
// removed by its next start. Before its first one there is the cache directory only.
func (m Mirror) writable() string {
	if stat, err := os.Stat(m.Fills); err == nil && stat.IsDir() {
		return m.Fills
	}
	return m.Dir
}

// written is the check of n synced writes that took a time and ended with err.
func (m Mirror) written(n int, took time.Duration, err error) Check {
	const what = "disk writes"
	if err != nil {
		return Check{what, m.failedState(err), err.Error(), m.hintWrite(err)}
	}
	detail := fmt.Sprintf("%d synced writes of 1 MiB to %s took %s", n, m.Dir, took)
	if n == 1 {
		detail = fmt.Sprintf("1 synced write of 1 MiB to %s took %s", m.Dir, took)
	}
	if took > slowDisk {
		return Check{what, Warn, detail, "pulls of what is not cached wait for this disk: use a faster one for cache.dir"}
	}
	return Check{what, OK, detail, ""}
}

// failedState is the state of a write that failed: what this user may not do says nothing of
// a mirror that runs, or will run, as another.
func (m Mirror) failedState(err error) State {
	if errors.Is(err, fs.ErrPermission) && !m.Process {
		return Warn
	}
	return Fail
}

// hintWrite says what to do about a write that failed.
func (m Mirror) hintWrite(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission) && !m.Process:
		return hintAsMirror
	case errors.Is(err, fs.ErrPermission):
		return "nothing new is cached: let " + processUser() + ", as which the mirror runs, write there: chown it, and see ReadWritePaths of the unit or the volume of the container"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "nothing new is cached: free space or inodes there (df -h and df -i say which), or raise the quota"
	case errors.Is(err, unix.EROFS):
		return "nothing new is cached: remount it read-write; dmesg says if the kernel made it read-only after an error"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "no file descriptors are left: raise LimitNOFILE of the unit, or nofile of the container, to 65536"
	}
	return "nothing new is cached: see dmesg, and repair or replace the disk"
}

// processUser names the user of this process, for a person.
func processUser() string {
	id := os.Geteuid()
	if known, err := user.LookupId(strconv.Itoa(id)); err == nil {
		return fmt.Sprintf("user %s (uid %d)", known.Username, id)
	}
	return fmt.Sprintf("uid %d", id)
}

// write writes up to diskChunks chunks to a file in dir, each synced, and removes it. It
// returns how many: a slow disk is not given all of them.
func write(dir string) (n int, err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	chunk := make([]byte, diskChunk)
	for start := time.Now(); n < diskChunks && time.Since(start) < 5*slowDisk; n++ {
		if _, err := f.Write(chunk); err != nil {
			return n, err
		}
		if err := f.Sync(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// room is what there is on the file system of a cache, in bytes.
type room struct {
	free, total int64
	held        int64 // by the cache; negative: not known
}

// space checks whether the cache can grow to MaxSize: what others have on the file system is
// not for it. When it is not known what the cache holds, only the whole file system counts.
func (m Mirror) space(r room) Check {
	const what = "disk space"
	detail := fmt.Sprintf("%s has %s of %s free; cache.max_size is %s, cache.min_free %s", m.Dir, size(r.free), size(r.total), size(m.MaxSize), size(m.MinFree))
	if r.held >= 0 {
		detail = fmt.Sprintf("%s has %s of %s free, and holds %s; cache.max_size is %s, cache.min_free %s", m.Dir, size(r.free), size(r.total), size(r.held), size(m.MaxSize), size(m.MinFree))
	}
	switch {
	case r.free < m.MinFree:
		return Check{what, Warn, detail, "the cache evicts to leave cache.min_free: free space there, or lower cache.min_free"}
	case r.total < m.MaxSize+m.MinFree:
		return Check{what, Warn, detail, "the file system is too small for cache.max_size: lower that, or use a larger disk"}
	case r.held >= 0 && r.free+r.held < m.MaxSize+m.MinFree:
		return Check{what, Warn, detail, "other files leave less than cache.max_size to the cache: remove them, or lower cache.max_size"}
	}
	return Check{what, OK, detail, ""}
}

// walkTime is how long the sizes of files are added up.
const walkTime = 3 * time.Second

// held returns the size of all files in a cache directory; negative if it cannot be read, or
// not before the deadline.
func held(dir string, deadline time.Time) (bytes int64) {
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && time.Now().After(deadline) {
			err = os.ErrDeadlineExceeded
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		return -1
	}
	return bytes
}

func size(bytes int64) string { return units.BytesSize(float64(bytes)) }

func fileSystem(dir string, kind int64) Check {
	if name, ok := networkFileSystems[kind]; ok {
		return Check{"file system", Warn, fmt.Sprintf("%s is on %s", dir, name), "use a local disk for cache.dir"}
	}
	return Check{"file system", OK, dir + " is on no known network file system", ""}
}
