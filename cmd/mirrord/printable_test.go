package main

import (
	"strings"
	"testing"
	"time"

	"mirrord/internal/archive"
	"mirrord/internal/doctor"
	"mirrord/internal/status"
)

// Whatever a registry, or a stranger at the admin address, says: a terminal is sent
// nothing but text, in as many lines as there were.
func TestPrintable(t *testing.T) {
	const hostile = "a\x1b]0;b\x07\u009b2J"
	var check strings.Builder
	if err := writeCheck(&check, doctor.Check{State: doctor.Warn, Name: "upstream", Detail: "responds 200 " + hostile}, false); err != nil {
		t.Error(err)
	}
	var imported strings.Builder
	writeSummary(&imported, archive.Summary{Images: []archive.Imported{{Image: hostile, Error: hostile}, {Image: hostile, Notes: hostile}, {Image: hostile}, {Digest: "sha256:0"}}})
	if !strings.Contains(imported.String(), "\nsha256:0: imported\n") {
		t.Errorf("an image without a name: %q", imported.String())
	}
	s := status.Status{
		Version: hostile, Now: time.Now(), Budgets: []status.Budget{{Upstream: hostile, State: "ok"}},
		Fills:  []status.Fill{{Upstream: hostile, Repository: hostile, Digest: "sha256:" + hostile}},
		Errors: []status.Problem{{Image: hostile, Summary: hostile, Advice: hostile}},
	}
	for what, text := range map[string]string{
		"doctor": check.String(), "import": imported.String(), "status": statusScreen(s, screenWidth), "top": fitLines(newTopView(s).table(topLines), screenWidth), "error": printableLines("one\n" + hostile),
	} {
		if strings.ContainsAny(text, "\x1b\x07\u009b") || !strings.Contains(text, "\n") {
			t.Errorf("%s: %q", what, text)
		}
	}
}
