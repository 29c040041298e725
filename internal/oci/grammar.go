package oci

import "strings"

// The grammars of distribution-spec 1.1, written by hand: every request passes
// through here, and regular expressions took 5% of its time.

// maxName is the maximum length of a name, in bytes: Docker Hub's limit.
const maxName = 255

// validName reports whether s consists of components separated by slashes:
// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*
func validName(s string) bool {
	if len(s) > maxName {
		return false
	}
	for component := range strings.SplitSeq(s, "/") {
		if !validComponent(component) {
			return false
		}
	}
	return true
}

func validComponent(c string) bool {
	if c == "" || !isAlphanumeric(c[0]) || !isAlphanumeric(c[len(c)-1]) {
		return false
	}
	for i := 0; i < len(c); i++ {
		begin := i
		for !isAlphanumeric(c[i]) { // ends: the last byte is alphanumeric
			i++
		}
		if !validSeparator(c[begin:i]) {
			return false
		}
	}
	return true
}

// validSeparator accepts nothing, one dot, one or two underscores, or any number
// of dashes.
func validSeparator(s string) bool {
	return s == "." || s == "_" || s == "__" || strings.Trim(s, "-") == ""
}

func isAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

const (
	hexDigits = "0123456789abcdef"
	tagBytes  = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-"
)

// validTag matches [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
func validTag(s string) bool {
	return s != "" && len(s) <= 128 && s[0] != '.' && s[0] != '-' && strings.Trim(s, tagBytes) == ""
}

// validSHA256 matches [a-f0-9]{64}.
func validSHA256(hex string) bool {
	return len(hex) == 64 && strings.Trim(hex, hexDigits) == ""
}
