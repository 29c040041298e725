package cache

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mirrord/internal/oci"
)

// partName is what the name of a part's file says. The size of a file that was not
// synced is no measure of its content after a power failure, but it is after a
// kill: the kernel has everything that was written.
//
//	<algorithm>-<hex>.<kind>.<boot>.<synced>.<unique end>
type partName struct {
	partKey
	boot   string // the kernel's boot in which it was written
	synced int64  // bytes of it that are on the disk, whatever happens
}

// prefix begins the name; a unique end follows, so that removing one part never
// hits another.
func (n partName) prefix() string {
	return fmt.Sprintf("%s-%s.%s.%s.%d.", n.digest.Algorithm(), n.digest.Encoded(), n.kind, n.boot, n.synced)
}

// trusted returns how many bytes of a file of that size and name are as they were
// written, in this boot.
func (n partName) trusted(size int64, boot string) int64 {
	if n.boot == boot {
		return size
	}
	return min(size, n.synced)
}

// parsePart reads a name. What an older mirrord wrote, without boot and synced, is
// not a part any more.
func parsePart(name string) (partName, bool) {
	fields := strings.Split(name, ".")
	if len(fields) != 5 {
		return partName{}, false
	}
	d, err := oci.ParseDigest(strings.Replace(fields[0], "-", ":", 1))
	synced, failed := strconv.ParseInt(fields[3], 10, 64)
	if err != nil || failed != nil || synced < 0 {
		return partName{}, false
	}
	for _, k := range []oci.Kind{oci.Manifest, oci.Blob} {
		if k.String() == fields[1] {
			return partName{partKey{d, k}, fields[2], synced}, true
		}
	}
	return partName{}, false
}

// renamePart gives p the name of n and its own end.
func renamePart(p *part, n partName) error {
	path := filepath.Join(filepath.Dir(p.path), n.prefix()+p.path[strings.LastIndex(p.path, ".")+1:])
	if path == p.path {
		return nil
	}
	if err := os.Rename(p.path, path); err != nil {
		return err
	}
	p.path = path
	return nil
}

// bootID identifies one boot of the kernel. Where that is not known, each process
// counts as one.
func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if id := strings.TrimSpace(string(raw)); err == nil && id != "" && !strings.ContainsAny(id, "./") {
		return id
	}
	return rand.Text()
}
