package oci_test

import (
	"errors"
	"strings"
	"testing"

	"mirrord/internal/oci"
)

func TestParseVia(t *testing.T) {
	t.Parallel()
	for via, want := range map[string]string{
		"":                                       "",
		"1.1 mirrord-a":                          "mirrord-a",
		"1.1 proxy (squid), HTTP/2.0 mirrord-a1": "mirrord-a1",
		"1.1 mirrord-a,1.1 mirrord-b ,":          "mirrord-a mirrord-b",
		"mirrord-a":                              "",
		"1.1 mirrord-A, 1.1 mirrord-":            "",
		"1.1 mirrord-" + strings.Repeat("x", 33): "",
		"1.1 mirrord-own":                        "loop",
		"1.0 mirrord-a, 1.1 mirrord-own":         "loop",
		strings.Repeat("1.1 mirrord-a,", 8):      strings.TrimSpace(strings.Repeat("mirrord-a ", 8)),
		strings.Repeat("1.1 mirrord-a,", 9):      "loop",
		strings.Repeat("1.1 mirrord-a,", 9_000):  "loop",
	} {
		hops, err := oci.ParseVia([]string{via}, "mirrord-own")
		switch got := strings.Join(hops, " "); {
		case want == "loop" && (!errors.Is(err, oci.ErrLoop) || len(err.Error()) > 500):
			t.Errorf("%.40q: %v, want ErrLoop", via, err)
		case want != "loop" && (err != nil || got != want):
			t.Errorf("%.40q: %q, %v; want %q", via, got, err, want)
		}
	}
	if via := oci.FormatVia([]string{"mirrord-a"}, "mirrord-b"); via != "1.1 mirrord-a, 1.1 mirrord-b" {
		t.Error(via)
	}
}
