package oci

import (
	"regexp"
	"testing"
)

// The regular expressions of the spec, as the oracle.
var (
	nameRE   = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagRE    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	sha256RE = regexp.MustCompile(`^[a-f0-9]{64}$`)
)

func FuzzGrammar(f *testing.F) {
	for _, seed := range []string{
		"", "a", "library/alpine", "a.b", "a..b", "a_b", "a__b", "a___b", "a-b", "a---b", "a.-b", "-a", "a-", "a//b", "/a", "a/",
		"A", "v1.2.3", ".a", "_a", "-a", "a b", "a\x00", "\xff", "a\n",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := validName(s), len(s) <= maxName && nameRE.MatchString(s); got != want {
			t.Errorf("name %q: %v, want %v", s, got, want)
		}
		if got, want := validTag(s), tagRE.MatchString(s); got != want {
			t.Errorf("tag %q: %v, want %v", s, got, want)
		}
		if got, want := validSHA256(s), sha256RE.MatchString(s); got != want {
			t.Errorf("sha256 %q: %v, want %v", s, got, want)
		}
	})
}
