package keys

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func secret(t *testing.T, lines ...string) Secret {
	t.Helper()
	s, err := ReadSecret(strings.NewReader(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const first, second = "the first secret of a fleet", "the second secret of a fleet"

func TestReadSecret(t *testing.T) {
	for _, raw := range []string{"", "\n", "short", first + "\nshort", first + "\n" + second + "\n" + first} {
		_, err := ReadSecret(strings.NewReader(raw))
		if err == nil {
			t.Errorf("%q is accepted", raw)
		} else if strings.Contains(err.Error(), "first secret") || strings.Contains(err.Error(), "short") {
			t.Errorf("the error quotes the secret: %v", err)
		}
	}
	if !(Secret{}).IsZero() || secret(t, first).IsZero() {
		t.Error("a secret is none, or none is one")
	}
}

func TestSeal(t *testing.T) {
	type body struct{ Digest string }
	old, rotating, next := secret(t, first), secret(t, second, first), secret(t, second)
	raw, err := old.Seal("a", body{"x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Secret{old, rotating} {
		var got body
		if err := s.Open("a", raw, &got); err != nil || got.Digest != "x" {
			t.Errorf("opened %v, %v", got, err)
		}
	}
	var got body
	for what, err := range map[string]error{
		"another key":    old.Open("b", raw, &got),
		"another secret": next.Open("a", raw, &got),
		"other bytes":    old.Open("a", bytes.Replace(raw, []byte(`"x"`), []byte(`"y"`), 1), &got),
		"no JSON":        old.Open("a", []byte("<Error>"), &got),
		"another type":   old.Open("a", raw, new(int)),
	} {
		if !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := old.Open("a", bytes.Replace(raw, []byte(`"v":1`), []byte(`"v":2`), 1), &got); !errors.Is(err, ErrNewer) {
		t.Errorf("of a later version: %v", err)
	}
}

// Names must not collide where their parts are cut elsewhere, and tell nothing to who has
// no secret.
func TestHash(t *testing.T) {
	s := secret(t, first)
	if s.Hash("ab", "c") == s.Hash("a", "bc") || s.Hash("a") == s.Hash("a", "") {
		t.Error("two names are the same")
	}
	if s.Hash("a") != secret(t, first).Hash("a") || s.Hash("a") == secret(t, second).Hash("a") {
		t.Error("a name does not depend on the secret alone")
	}
	if len(s.Hash("a")) != 32 {
		t.Errorf("a name is %q", s.Hash("a"))
	}
}
