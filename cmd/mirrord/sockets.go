package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"mirrord/internal/admin"
	"mirrord/internal/config"
)

// sockets are those on which systemd listens for this process, see systemd.socket(5).
// They stay open after its end: connections wait in them for the next process.
type sockets []socket

type socket struct {
	name     string // its FileDescriptorName=
	listener net.Listener
}

// passedSockets takes over the sockets that systemd has passed, if any. Its error says
// what to do.
func passedSockets() (sockets, error) {
	var all sockets
	for _, f := range activation.Files(true) {
		l, err := listenerOf(f)
		if err != nil {
			return nil, err
		}
		all = append(all, socket{f.Name(), l})
	}
	return all, nil
}

// listenerOf returns the listener of a passed socket, and closes its file.
func listenerOf(f *os.File) (net.Listener, error) {
	defer func() { _ = f.Close() }() // the listener has a duplicate
	if accepts, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || accepts == 0 {
		return nil, fmt.Errorf("systemd passes a socket (%s) that does not listen for connections; the socket unit must have ListenStream= and Accept=no", f.Name())
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("systemd passes a socket (%s) that cannot be used: %w", f.Name(), err)
	}
	return l, checkClosed(l.Addr())
}

// checkClosed fails for a unix socket that everybody may use, as systemd creates it: who
// may use it needs no token.
func checkClosed(address net.Addr) error {
	if address.Network() != "unix" {
		return nil
	}
	info, err := os.Stat(address.String())
	if err != nil {
		return fmt.Errorf("systemd passes the socket %s, whose permissions cannot be read: %w; choose a path in /run", address, err)
	}
	if info.Mode()&0o002 != 0 {
		return fmt.Errorf("systemd passes the socket %s, which every user of this machine may use; set SocketMode=0600, or 0660 and SocketGroup=, in the socket unit", address)
	}
	return nil
}

// address returns where s listens, as a setting has it.
func (s socket) address() string {
	if s.isUnix() {
		return "unix:" + s.listener.Addr().String()
	}
	return s.listener.Addr().String()
}

func (s socket) isUnix() bool { return s.listener.Addr().Network() == "unix" }

// setting returns the setting that is meant to have the address of s.
func (s socket) setting() string {
	switch {
	case s.name == "metrics" && !s.isUnix():
		return metricsListenKey
	case s.name == "admin", s.isUnix():
		return adminListenKey
	}
	return listenKey
}

// is reports whether s listens on an address of the configuration. Every address of this
// host is the same in IPv4 and in IPv6 unless exact.
func (s socket) is(address string, exact bool) bool {
	if path, ok := admin.SocketPath(address); ok || s.isUnix() {
		return ok && s.isUnix() && filepath.Clean(path) == filepath.Clean(s.listener.Addr().String())
	}
	own := s.listener.Addr().(*net.TCPAddr)
	other, err := net.ResolveTCPAddr("tcp", address)
	if err != nil || own.Port != other.Port {
		return false
	}
	everywhere := isEverywhere(own.IP) && isEverywhere(other.IP)
	return own.IP.Equal(other.IP) || everywhere && !exact
}

func isEverywhere(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }

// match returns the sockets by the addresses that they are for, and those that are left.
func (all sockets) match(addresses []string) (of map[string]net.Listener, left sockets) {
	of, left = make(map[string]net.Listener), slices.Clone(all)
	for _, exact := range []bool{true, false} {
		for _, address := range addresses {
			i := slices.IndexFunc(left, func(s socket) bool { return s.is(address, exact) })
			if i >= 0 && of[address] == nil {
				of[address] = left[i].listener
				left = slices.Delete(left, i, i+1)
			}
		}
	}
	return of, left
}

// addresses returns all addresses of the configuration.
func addresses(cfg *config.Config) []string {
	all := []string{cfg.Admin.Listen}
	if path, _ := socketPath(cfg); path != "" {
		all = append(all, "unix:"+path)
	}
	if cfg.Metrics.Listen != "" {
		all = append(all, cfg.Metrics.Listen)
	}
	for _, l := range cfg.AllListeners() {
		all = append(all, l.Address)
	}
	return all
}

// assign returns a load whose configurations have an address for each socket.
func (all sockets) assign(load func() (*config.Config, error)) func() (*config.Config, error) {
	return func() (*config.Config, error) {
		cfg, err := load()
		if err == nil {
			err = all.place(cfg)
		}
		return cfg, err
	}
}

// place replaces the default of listen by the socket for it. It fails when one is left
// that nothing would serve: its clients would wait for ever.
func (all sockets) place(cfg *config.Config) error {
	of, left := all.match(addresses(cfg))
	isDefault := !cfg.ListenSet && cfg.Listen != "" && of[cfg.Listen] == nil
	if len(left) == 1 && left[0].setting() == listenKey && isDefault {
		cfg.Listen = left[0].address()
		return nil
	}
	if len(left) > 0 {
		s := left[0]
		return refusal{fmt.Errorf("systemd passes a socket for %s (%s), which no listener of the configuration has as its address; set %s to %q, add it to listeners, or change ListenStream= in the socket unit",
			s.address(), s.name, s.setting(), s.address())}
	}
	return nil
}
