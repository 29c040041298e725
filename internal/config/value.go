package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// duration prints without trailing units that are zero: 1m, not 1m0s.
type duration time.Duration

func (d duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// longRE matches a duration with weeks or days, which Go does not have.
var longRE = regexp.MustCompile(`(?s)^(?:([0-9]{1,4})w)?(?:([0-9]{1,4})d)?(.*)$`)

// parseDuration parses a Go duration with optional weeks and days before it: 30d,
// 1w2d12h.
func parseDuration(s string) (duration, error) {
	const day = 24 * time.Hour
	long := longRE.FindStringSubmatch(s)
	weeks, _ := number(long[1])
	days, _ := number(long[2])
	d := time.Duration(weeks*7+days) * day
	if rest := long[3]; rest != "" || rest == s {
		short, err := time.ParseDuration(rest)
		if err != nil || d != 0 && short < 0 || d+short < d && short > 0 {
			return 0, fmt.Errorf("%q is not a duration; write a number with a unit, such as 30s, 1m, 2h or 7d", s)
		}
		d += short
	}
	if d < 0 {
		return 0, fmt.Errorf("%q is negative; write 0 or more, such as 1m or 30s", s)
	}
	return duration(d), nil
}

// orNever returns a parser for a duration of least or more, or 0 for never; why says
// what is wrong with a shorter one.
func orNever(least duration, why string) func(string) (duration, error) {
	return func(s string) (duration, error) {
		d, err := parseDuration(s)
		if err == nil && d != 0 && d < least {
			err = fmt.Errorf("%q %s; write %v or more, or 0 for never", s, why, least)
		}
		return d, err
	}
}

var (
	parseProbe = orNever(duration(time.Minute), "is too frequent and would burden the upstream")
	parseScrub = orNever(duration(time.Hour), "is too frequent and would keep the disk busy")
)

// number parses digits and nothing else.
func number(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil
}

// count returns a parser for a number of what; 0 means no limit.
func count(what string) func(string) (int, error) {
	return func(s string) (int, error) {
		n, ok := number(s)
		if !ok {
			return 0, fmt.Errorf("%q is not a number of %s; write for example 50, or 0 for no limit", s, what)
		}
		return n, nil
	}
}

func parseBool(s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, fmt.Errorf("%q is neither true nor false; write one of them", s)
	}
	return s == "true", nil
}

func parseSample(s string) (int, error) {
	n, ok := number(s)
	if !ok || n < 1 {
		return 0, fmt.Errorf("%q is not a number of requests, 1 or more; write for example 100 to log one of a hundred", s)
	}
	return n, nil
}

func parseFills(s string) (int, error) {
	n, ok := number(s)
	if !ok || n == 0 {
		return 0, fmt.Errorf("%q is not a number of downloads; write 1 or more, such as 32", s)
	}
	return n, nil
}

func parseSize(s string) (Size, error) {
	var size Size
	err := size.Set(s)
	return size, err
}

func parseMaxSize(s string) (Size, error) {
	size, err := parseSize(s)
	if err == nil && size == 0 {
		err = fmt.Errorf("%q is too small; write a size above 0, such as 50GiB", s)
	}
	return size, err
}

// hostRE matches a DNS name in either case.
var hostRE = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

// parseAddress accepts what net.Listen accepts, except names of ports.
func parseAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || !isPort(port) || !isHost(host) {
		return "", fmt.Errorf("%q is not an address; write host:port with a port from 0 to 65535, such as 127.0.0.1:5000", s)
	}
	return s, nil
}

// parseAdminAddress accepts an address or, after unix:, the path of a socket.
func parseAdminAddress(s string) (string, error) {
	path, ok := strings.CutPrefix(s, "unix:")
	if !ok {
		return parseAddress(s)
	}
	path, err := parseSocketPath(path, "unix:/run/mirrord/admin.sock")
	return "unix:" + path, err
}

// NoSocket is the admin.socket of a mirror that has none.
const NoSocket = "off"

// parseSocket accepts the path of a socket, or off.
func parseSocket(s string) (string, error) {
	if s == NoSocket {
		return s, nil
	}
	if strings.HasPrefix(s, "unix:") {
		return "", fmt.Errorf("%q begins with unix:, which only %s needs; write the path alone", s, adminListenKey)
	}
	return parseSocketPath(s, "/run/mirrord/admin.sock")
}

func parseSocketPath(s, example string) (string, error) {
	path, err := parsePath(s)
	if err == nil && len(path) > MaxSocketPath {
		err = fmt.Errorf("%q is longer than the %d bytes that the path of a socket may have; write a shorter one, such as %s", path, MaxSocketPath, example)
	}
	return path, err
}

// MaxSocketPath is how many bytes the path of a socket may have: the limit of the kernel.
const MaxSocketPath = 107

// parseOptional returns a parser that accepts an empty text, too, and turns the setting
// off with it.
func parseOptional(parse func(string) (string, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return parse(s)
	}
}

// isHost reports whether host can be listened on; empty means all addresses.
func isHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return printable(host) && (host == "" || err == nil || hostRE.MatchString(host))
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// oneOf returns a parser that accepts only the words.
func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(words, s) {
			last := len(words) - 1
			return "", fmt.Errorf("%q is not valid; write %s or %s", s, strings.Join(words[:last], ", "), words[last])
		}
		return s, nil
	}
}

// parseText accepts any text that is printable on one line.
func parseText(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("is empty; write a value or leave it out")
	}
	if !printable(s) {
		return "", fmt.Errorf("%q contains unprintable characters; remove them", s)
	}
	return s, nil
}

// parsePath accepts a path and makes it absolute, so that it does not depend on the
// working directory of the next command.
func parsePath(s string) (string, error) {
	if _, err := parseText(s); err != nil {
		return "", err
	}
	if strings.HasPrefix(s, "~") {
		return "", fmt.Errorf("%q starts with ~, which only a shell expands; write the full path", s)
	}
	absolute, err := filepath.Abs(s)
	if err != nil {
		return "", fmt.Errorf("%q cannot be made absolute: %w; write the full path", s, err)
	}
	return absolute, nil
}

// printable reports whether WriteYAML can write s exactly.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
