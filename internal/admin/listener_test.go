package admin

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The token whose file a listener names is sent only if the owner of that file, or root,
// listens there.
func TestTokenOnlyToItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to another user")
	}
	dir := t.TempDir()
	check(t, NewToken("", dir).Prepare())
	var got string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		if r.Method == http.MethodGet {
			_, _ = fmt.Fprintln(w, dir)
			return
		}
		_, _ = fmt.Fprintln(w, `{}`)
	})
	const daemon, nobody = 1, 65534
	for name, test := range map[string]struct {
		owner, listener int
		sent            bool
	}{
		"root":                         {0, 0, true},
		"a socket that systemd passes": {daemon, 0, true},
		"the mirror's user":            {daemon, daemon, true},
		"another user":                 {daemon, nobody, false},
		"another user, of root's":      {0, nobody, false},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, os.Chown(filepath.Join(dir, tokenName), test.owner, -1))
			server := httptest.NewUnstartedServer(handler)
			check(t, server.Listener.Close())
			server.Listener = listenAs(t, test.listener)
			server.Start()
			defer server.Close()
			got = ""
			resp, err := NewClient(server.Listener.Addr().String(), "").send(t.Context(), http.MethodPost, "/v1/gc", nil, nil)
			if err == nil {
				check(t, resp.Body.Close())
			}
			if sent := strings.HasPrefix(got, "Bearer mirrord-"); sent != test.sent || errors.Is(err, errStranger) == test.sent {
				t.Errorf("sent: %v, %v", sent, err)
			}
		})
	}
}

func TestListeners(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1389 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0 100 0 0 10 0
   1: 00000000:138A 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 12346 1 0 100 0 0 10 0
   2: 0100007F:138B 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1001        0 12347 1 0 100 0 0 10 0
   3: 0200007F:1389 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1002        0 12348 1 0 100 0 0 10 0
   4: 00000000000000000000000001000000:1389 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1003        0 12349 1 0 100 0 0 10 0
   5: 0000000000000000FFFF00000100007F:138C 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1004        0 12350 1 0 100 0 0 10 0
   damaged
`
	for address, want := range map[string]string{
		"127.0.0.1:5001": "[1000]",
		"127.0.0.1:5002": "[998]",
		"127.0.0.1:5003": "[]",
		"[::1]:5001":     "[1003]",
		"127.0.0.1:5004": "[1004]",
	} {
		if got := fmt.Sprint(listenersIn([]byte(table), netip.MustParseAddrPort(address))); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	for _, address := range []string{"192.0.2.1:5001", "127.0.0.1:1"} {
		if err := checkListener(netip.MustParseAddrPort(address), 0); !errors.Is(err, errStranger) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// listenAs returns a listener whose socket belongs to a user.
func listenAs(t *testing.T, user int) net.Listener {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SetfsuidRetUid(user) // of this thread
	check(t, err)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	_, restored := unix.SetfsuidRetUid(before)
	check(t, errors.Join(err, restored))
	check(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check(t, unix.Listen(fd, 16))
	file := os.NewFile(uintptr(fd), "listener")
	l, err := net.FileListener(file)
	check(t, errors.Join(err, file.Close()))
	return l
}
