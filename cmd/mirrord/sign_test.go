package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mirrord/internal/cosign"
	"mirrord/internal/cosign/cosigntest"
	"mirrord/internal/oci"
)

// signCommand returns the command sign NAME FILE [bundle], which signs the image NAME
// at the hub with a new key, whose public half it writes to FILE.
func signCommand(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) < 2 {
			ts.Fatalf("usage: sign NAME FILE [bundle]")
		}
		w, repository := worldOf(ts), "library/"+args[0]
		image, ok := w.images[args[0]]
		if !ok {
			ts.Fatalf("there is no image %s", args[0])
		}
		key := cosigntest.NewKey(t, "P-256")
		key.WritePublic(t, ts.MkAbs(args[1]))
		if len(args) == 3 {
			key.SignBundle(t, w.hub, repository, oci.Digest(image), cosign.SignPredicate)
		} else {
			key.SignTag(t, w.hub, repository, oci.Digest(image))
		}
	}
}
