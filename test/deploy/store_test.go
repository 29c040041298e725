package deploy

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const (
	storeProgram = "versitygw" // an object store, in prepared
	storeAddress = "127.0.0.1:7070"
	storeBucket  = "mirrord"
	storeKey     = "mirrord"
	storeSecret  = "0123456789abcdef0123456789abcdef"
	fleetSecret  = "fXbG1mEA9FD5FCTTmLyZSMKYpyHkD9tZ7wY4aV0r3Oo=\n"
)

// startStore starts an object store with an empty bucket, and returns its URL.
func startStore(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, storeBucket), 0o755)) // buckets are directories
	c := exec.Command(filepath.Join(prepared, storeProgram), "--port", storeAddress, "--quiet", "posix", dir)
	c.Env = []string{"ROOT_ACCESS_KEY_ID=" + storeKey, "ROOT_SECRET_ACCESS_KEY=" + storeSecret}
	check(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	awaitStore(t)
	return "http://" + storeAddress
}

func awaitStore(t *testing.T) {
	t.Helper()
	eventually(t, "the object store does not start", func() bool {
		conn, err := net.Dial("tcp", storeAddress)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// eventually returns when ready does.
func eventually(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ready() {
			return
		}
	}
	t.Fatal(what)
}
