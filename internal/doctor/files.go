package doctor

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// files checks how many of its file descriptors this process uses. A system that does not
// say has no check.
func files() []Check {
	var limit unix.Rlimit
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil || unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return nil
	}
	return []Check{descriptors(uint64(len(open)), limit.Cur)}
}

// fewFiles is a limit that a few hundred clients reach: each has a connection and a file,
// and each fill two more.
const fewFiles = 4096

func descriptors(used, limit uint64) Check {
	const what = "file descriptors"
	detail := fmt.Sprintf("%d of %d in use", used, limit)
	switch {
	case used >= limit/4*3:
		return Check{what, Warn, detail, "connections are refused when none are left: raise LimitNOFILE of the unit, or nofile of the container, to 65536, and see mirrord top for who connects"}
	case limit < fewFiles:
		return Check{what, Warn, detail, "a few hundred clients use that many: raise LimitNOFILE of the unit, or nofile of the container, to 65536"}
	}
	return Check{what, OK, detail, ""}
}
