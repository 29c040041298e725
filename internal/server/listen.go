package server

import (
	"errors"
	"fmt"
	"net"
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
