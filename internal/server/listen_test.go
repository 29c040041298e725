package server

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A socket is for its user only. A stale one is replaced, one in use and another file
// are not.
func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	check(t, err)
	stale.SetUnlinkOnClose(false)
	check(t, stale.Close())
	l, err := ListenUnix(path, "admin.listen", 0o600)
	check(t, err)
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := ListenUnix(path, "admin.listen", 0o600); err == nil || !strings.Contains(err.Error(), "admin.listen: "+path+" is in use") {
		t.Errorf("twice: %v", err)
	}
	check(t, l.Close())
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
	check(t, os.WriteFile(path, nil, 0o600))
	if _, err := ListenUnix(path, "admin.listen", 0o600); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a file: %v", err)
	}
}
