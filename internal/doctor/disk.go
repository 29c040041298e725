package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

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

// Disk checks the cache directory: whether it takes files of this user, how long four
// synced writes of 1 MiB take, and whether the file system has maxSize bytes for blobs
// beside the minFree bytes that stay free. It leaves nothing there. A write that the
// kernel holds cannot be cut short.
func Disk(dir string, maxSize, minFree int64) []Check {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return []Check{{"cache directory", Warn, fmt.Sprintf("%s: %v", dir, err), "mirrord serve makes it if it may; name another with cache.dir"}}
	}
	return []Check{writes(dir), space(dir, int64(stat.Bavail)*stat.Bsize, int64(stat.Blocks)*stat.Bsize, maxSize, minFree), fileSystem(dir, int64(stat.Type))}
}

func writes(dir string) Check {
	const what = "disk writes"
	start := time.Now()
	err := write(dir)
	took := time.Since(start).Round(time.Millisecond)
	detail := fmt.Sprintf("%d synced writes of 1 MiB to %s took %s", diskChunks, dir, took)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return Check{what, Warn, err.Error(), "run mirrord doctor as the user of the mirror, such as with sudo -u mirrord"}
	case err != nil:
		return Check{what, Fail, err.Error(), "free space, or repair or remount the file system"}
	case took > slowDisk:
		return Check{what, Warn, detail, "pulls of what is not cached wait for this disk: use a faster one for cache.dir"}
	}
	return Check{what, OK, detail, ""}
}

// write writes chunks to a file in dir, each synced, and removes it.
func write(dir string) (err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	chunk := make([]byte, diskChunk)
	for start := time.Now(); time.Since(start) < 5*slowDisk; {
		if _, err := f.Write(chunk); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if at, err := f.Seek(0, 1); err != nil || at >= diskChunks*diskChunk {
			return err
		}
	}
	return nil
}

func space(dir string, free, total, maxSize, minFree int64) Check {
	const what = "disk space"
	detail := fmt.Sprintf("%s has %.1f of %.1f GiB free; cache.max_size is %.1f GiB, cache.min_free %.1f GiB", dir, gib(free), gib(total), gib(maxSize), gib(minFree))
	switch {
	case free < minFree:
		return Check{what, Warn, detail, "the cache evicts to leave cache.min_free: free space, or lower it"}
	case total < maxSize+minFree:
		return Check{what, Warn, detail, "the file system is too small for cache.max_size: lower that, or use a larger disk"}
	}
	return Check{what, OK, detail, ""}
}

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }

func fileSystem(dir string, kind int64) Check {
	if name, ok := networkFileSystems[kind]; ok {
		return Check{"file system", Warn, fmt.Sprintf("%s is on %s", dir, name), "use a local disk for cache.dir"}
	}
	return Check{"file system", OK, dir + " is on no known network file system", ""}
}
