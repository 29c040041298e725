package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// Listen listens on address, the value of setting. Its error says what to do.
func Listen(address, setting string) (*net.TCPListener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, explain(address, err))
	}
	return l.(*net.TCPListener), nil
}

// ErrInUse says that somebody else listens on a socket.
var ErrInUse = errors.New("is in use")

// ListenUnix listens on a socket with that mode, beside root for this user or his group,
// and removes it when it is closed. It replaces one on which nobody listens any more, and
// fails with ErrInUse where somebody does. Its error says what to do.
func ListenUnix(path, setting string, mode fs.FileMode) (*net.UnixListener, error) {
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	before := syscall.Umask(int(^mode & 0o777)) // until Chmod somebody else could connect
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(before)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; the directory of the socket must exist and be writable for this user", setting, err)
	}
	return l, nil
}

// removeStale removes a socket on which nobody listens.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode().Type() != fs.ModeSocket {
		err = fmt.Errorf("%s is not a socket: choose another path", path)
	}
	if err != nil {
		return err
	}
	conn, err := net.Dial("unix", path)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	if err != nil {
		return err
	}
	return errors.Join(fmt.Errorf("%s %w: stop what listens there or choose another path", path, ErrInUse), conn.Close())
}

func explain(address string, err error) error {
	var unresolved *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use: stop what listens there or choose another address", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s is not an address of this machine; choose one that `ip address` shows, or 0.0.0.0 for all", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: this user may not listen on ports below 1024; choose a higher one, or allow it to all users with: sysctl -w net.ipv4.ip_unprivileged_port_start=80", address)
	case errors.As(err, &unresolved):
		return fmt.Errorf("%s: its host has no address (%w); write an IP address of this machine, or 0.0.0.0 for all", address, unresolved)
	}
	return err
}
