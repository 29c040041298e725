package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/test/smalldisk"
)

// checkDisk returns the checks of the disk of m.
func checkDisk(t *testing.T, m Mirror) (all []Check) {
	t.Helper()
	m.Disk = NewDisk()
	m.CheckDisk(t.Context(), func(c Check) { all = append(all, c) })
	return all
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	all := checkDisk(t, Mirror{Dir: dir, MaxSize: 1})
	want(t, all, "disk space", OK, "free, and holds 0B; cache.max_size is 1B, cache.min_free 0B")
	if len(all) != 3 {
		t.Errorf("%+v", all)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if m := (Mirror{Dir: dir, Fills: filepath.Join(dir, "fills")}); m.writable() != dir {
		t.Error(m.writable())
	} else if check(t, os.Mkdir(m.Fills, 0o700)); m.writable() != m.Fills {
		t.Error(m.writable())
	}
	for _, tt := range []struct {
		room    room
		maxSize int64
		want    State
		words   string
	}{
		{room{9, 100, -1}, 50, Warn, "lower cache.min_free"},
		{room{10, 100, -1}, 90, OK, "10B of 100B free;"},
		{room{10, 100, -1}, 91, Warn, "too small"},
		{room{40, 100, 20}, 50, OK, "and holds 20B;"},
		{room{40, 100, 20}, 51, Warn, "other files"},
		{room{40, 100, 0}, 31, Warn, "other files"},
	} {
		want(t, []Check{Mirror{Dir: dir, MaxSize: tt.maxSize, MinFree: 10}.space(tt.room)}, "disk space", tt.want, tt.words)
	}
	check(t, os.WriteFile(filepath.Join(dir, "fills", "a"), make([]byte, 2048), 0o600))
	want(t, checkDisk(t, Mirror{Dir: dir, MaxSize: 1}), "disk space", OK, "and holds 2KiB;")
	want(t, checkDisk(t, Mirror{Dir: dir, MaxSize: 1, Process: true, Holds: 1024}), "disk space", OK, "and holds 1KiB;")
	if n := held(dir, time.Time{}); n != -1 {
		t.Errorf("after its time %d bytes", n)
	}
	if c := fileSystem(dir, 0x6969); c.State != Warn {
		t.Errorf("%+v", c)
	}
	want(t, checkDisk(t, Mirror{Dir: dir + "/none"}), "cache directory", Warn, "mirrord serve makes it")
	want(t, checkDisk(t, Mirror{Dir: dir + "/none", Process: true}), "cache directory", Fail, "owned by "+processUser())
}

// What was written is counted, and a write that fails is the mirror's failure, unless it is
// another user's who runs the command.
func TestDiskWrites(t *testing.T) {
	const dir = "/cache"
	denied := &fs.PathError{Op: "open", Path: dir, Err: unix.EACCES}
	for _, test := range []struct {
		mirror bool
		n      int
		took   time.Duration
		err    error
		state  State
		words  string
	}{
		{true, 4, time.Millisecond, nil, OK, "4 synced writes of 1 MiB to /cache took 1ms"},
		{true, 2, 6 * time.Second, nil, Warn, "2 synced writes of 1 MiB"},
		{true, 1, 9 * time.Second, nil, Warn, "1 synced write of 1 MiB"},
		{true, 0, 0, denied, Fail, "let " + processUser()},
		{false, 0, 0, denied, Warn, "as the user of the mirror"},
		{false, 1, 0, unix.ENOSPC, Fail, "df -i"},
		{true, 0, 0, unix.EROFS, Fail, "read-write"},
		{true, 0, 0, unix.EMFILE, Fail, "LimitNOFILE"},
		{true, 0, 0, unix.EIO, Fail, "dmesg"},
	} {
		want(t, []Check{Mirror{Dir: dir, Process: test.mirror}.written(test.n, test.took, test.err)}, "disk writes", test.state, test.words)
	}
	if who := processUser(); !strings.Contains(who, fmt.Sprint("uid ", os.Geteuid())) {
		t.Errorf("%q", who)
	}
}

// A real disk that is full, and one that is read-only.
func TestDiskFull(t *testing.T) {
	dir := smalldisk.Mount(t, "", "size=2m")
	want(t, checkDisk(t, Mirror{Dir: dir, Process: true}), "disk writes", Fail, "df -h")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	check(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	want(t, checkDisk(t, Mirror{Dir: dir, Process: true}), "disk writes", Fail, "remount it read-write")
}

// A disk that hangs is given up after ten seconds, as often as it is checked, and holds one
// goroutine until it answers. Then it is checked again.
func TestDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, answer := NewDisk(), make(chan struct{})
		var begun atomic.Int32
		hang := func() int32 {
			n := begun.Add(1)
			<-answer
			return n
		}
		for range 3 {
			start := time.Now()
			if _, err := Use(t.Context(), disk, hang); !errors.Is(err, ErrDiskHangs) || time.Since(start) != 10*time.Second {
				t.Errorf("%v after %s", err, time.Since(start))
			}
		}
		if n := begun.Load(); n != 1 {
			t.Errorf("%d probes were begun", n)
		}
		var all []Check
		Mirror{Disk: disk, Dir: "/cache", Process: true}.CheckDisk(t.Context(), func(c Check) { all = append(all, c) })
		want(t, all, "cache directory", Fail, "/cache: it did not answer within 10s")
		close(answer)
		if n, err := Use(t.Context(), disk, hang); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}
