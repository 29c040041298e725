package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"mirrord/internal/archive"
)

func TestPrintExport(t *testing.T) {
	for present, want := range map[int]string{0: "wrote out: 5B\n", 1: "wrote out: 5B; 1 blob already there\n", 2: "wrote out: 5B; 2 blobs already there\n"} {
		var text strings.Builder
		c := new(cobra.Command)
		c.SetOut(&text)
		check(t, printExport(c, false, "out", archive.Unpacked{Bytes: 5, Present: present}))
		if text.String() != want {
			t.Errorf("%d: %q, want %q", present, text.String(), want)
		}
	}
}
