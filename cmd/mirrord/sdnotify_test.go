package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// notifications are what the daemon tells systemd.
type notifications struct{ conn *net.UnixConn }

// notified makes the daemon notify the test, which wants a sign of life in each interval.
func (p *process) notified(t *testing.T, interval time.Duration) notifications {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	p.env = append(p.env, "NOTIFY_SOCKET="+path, fmt.Sprintf("WATCHDOG_USEC=%d", interval.Microseconds()))
	return notifications{conn}
}

// next returns the next notification, empty when there is none in time.
func (n notifications) next(t *testing.T, within time.Duration) string {
	t.Helper()
	check(t, n.conn.SetReadDeadline(time.Now().Add(within)))
	message := make([]byte, 1000)
	length, err := n.conn.Read(message)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ""
	}
	check(t, err)
	return string(message[:length])
}

func (n notifications) want(t *testing.T, log func() string, all ...string) {
	t.Helper()
	for _, want := range all {
		if got := n.next(t, 20*time.Second); got != want {
			t.Fatalf("got %q, want %q\n%s", got, want, log())
		}
	}
}

// alive fails the test unless there is a sign of life in each interval for that long.
func (n notifications) alive(t *testing.T, during, interval time.Duration) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); {
		if got := n.next(t, interval); got != "WATCHDOG=1" {
			t.Fatalf("got %q within %s, want WATCHDOG=1", got, interval)
		}
	}
}

// systemd learns that the mirror reloads, and how that has ended.
func TestReloadIsNotified(t *testing.T) {
	m := newMirror(t)
	path := filepath.Join(m.home, "mirrord.yaml")
	write := func(text string) { check(t, os.WriteFile(path, []byte(text), 0o600)) }
	write("clients: {max_requests: 7}\n")
	n := m.notified(t, time.Hour)
	check(t, m.start("--config", path))
	n.want(t, m.text, "READY=1")
	reloaded := func(want string) {
		t.Helper()
		m.signal(syscall.SIGHUP)
		if got := n.next(t, 20*time.Second); !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=\d+\n$`).MatchString(got) {
			t.Fatalf("got %q\n%s", got, m.text())
		}
		n.want(t, m.text, want)
	}
	const applied = "READY=1\nSTATUS=Serving; the configuration has been read again"
	reloaded(applied)
	write("\ntags: {fresh: never}\n")
	reloaded("READY=1\nSTATUS=Serving with the previous configuration; the changed one cannot be used: " +
		path + `:2:15: tags.fresh: "never" is not a duration; write a number with a unit, such as 30s, 1m, 2h or 7d`)
	write("clients: {max_requests: 8}\n")
	reloaded(applied)
}

// A status is a line that systemd accepts, whatever is in the file.
func TestReloadStatus(t *testing.T) {
	got := reloadStatus(errors.New("a\n\x1b[31mb\tc" + strings.Repeat("é", maxStatus)))
	if !strings.Contains(got, "cannot be used: a; [31mb; cé") || !utf8.ValidString(got) || len(got) > 4096 || strings.Contains(got, "\n") {
		t.Errorf("got %q", got)
	}
}
