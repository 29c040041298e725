package main

import (
	"strings"
	"testing"
	"time"

	"mirrord/internal/admin"
)

// A person is told that others spend from a budget, too.
func TestSharedQuota(t *testing.T) {
	for _, shared := range []bool{true, false} {
		var out strings.Builder
		if err := writeBudgets(&out, []admin.Budget{{Upstream: "docker.io", Credential: "default", Usable: true, Shared: shared}}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "ok; shared with the fleet\n") != shared {
			t.Errorf("shared: %v\n%s", shared, out.String())
		}
	}
}
