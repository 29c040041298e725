package admin

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// errStranger says that a token is not sent, because whoever listens may have taken the
// address while the mirror was down.
var errStranger = errors.New("the token is not sent")

// checkListener fails unless the program that listens at address, on this host, is run by
// owner or by root. Any user can listen at a port while the mirror is down, and name the
// directory whose token he wants to have.
func checkListener(address netip.AddrPort, owner uint32) error {
	if !address.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("%w to %s, which is not this host: name the file of its token with --admin-token-file", errStranger, address)
	}
	users, err := listenersAt(address)
	if err != nil {
		return fmt.Errorf("%w: who listens at %s cannot be found out: %w", errStranger, address, err)
	}
	if len(users) == 0 || slices.ContainsFunc(users, func(user uint32) bool { return user != 0 && user != owner }) {
		return fmt.Errorf("%w: what listens at %s is not run by the owner of the token; ask at the mirror's socket with --admin-socket, or name the file of its token with --admin-token-file", errStranger, address)
	}
	return nil
}

// ownerOf returns the user who owns a file, not following a link.
func ownerOf(path string) (uint32, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Uid, nil
}

// listenersAt returns the users of the sockets that listen at address or at all addresses.
func listenersAt(address netip.AddrPort) (users []uint32, err error) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		raw, err := os.ReadFile(table)
		if errors.Is(err, os.ErrNotExist) { // without IPv6
			continue
		}
		if err != nil {
			return nil, err
		}
		users = append(users, listenersIn(raw, address)...)
	}
	return users, nil
}

// listenersIn returns those in the text of /proc/net/tcp, see proc_net_tcp in the kernel's
// documentation.
func listenersIn(text []byte, address netip.AddrPort) (users []uint32) {
	const local, state, user, listens = 1, 3, 7, "0A"
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) <= user || fields[state] != listens {
			continue
		}
		at, err := parseProcAddress(fields[local])
		if err != nil || at.Port() != address.Port() || !at.Addr().IsUnspecified() && at.Addr().Unmap() != address.Addr().Unmap() {
			continue
		}
		if uid, err := strconv.ParseUint(fields[user], 10, 32); err == nil {
			users = append(users, uint32(uid))
		}
	}
	return users
}

// parseProcAddress parses an address and a port in hexadecimal. The address consists of
// words of 32 bits in the order of the machine's bytes, which is little-endian on all that
// mirrord is built for.
func parseProcAddress(s string) (netip.AddrPort, error) {
	words, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(words)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address", s)
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	addr, ok := netip.AddrFromSlice(raw)
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil || !ok {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address", s)
	}
	return netip.AddrPortFrom(addr, uint16(number)), nil
}
