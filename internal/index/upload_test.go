package index

import (
	"testing"

	"mirrord/internal/oci"
)

// What is to be uploaded survives a restart, and what is done does not come back.
func TestUploads(t *testing.T) {
	dir := t.TempDir()
	ix := open(t, dir)
	d := oci.FromBytes([]byte("layer"))
	blob, err := oci.ParseBlob("docker.io", "library/alpine", d.String())
	check(t, err)
	manifest, err := oci.ParseManifest("ghcr.io", "a/b", d.String())
	check(t, err)
	other, err := oci.ParseBlob("ghcr.io", "a/b", d.String())
	check(t, err)
	for _, ref := range []oci.Ref{blob, manifest, other, blob} {
		check(t, ix.PutUpload(ref))
	}
	check(t, ix.RemoveUpload(other))
	check(t, ix.RemoveUpload(other))
	closeIndex(t, ix)
	ix = open(t, dir)
	defer closeIndex(t, ix)
	got := make(map[oci.Ref]bool)
	for ref, err := range ix.Uploads() {
		check(t, err)
		got[ref] = true
	}
	want(t, got, map[oci.Ref]bool{blob: true, manifest: true})
}

func TestDecodeDamagedUpload(t *testing.T) {
	d := oci.FromBytes([]byte("layer")).String()
	for key, value := range map[string][]byte{
		"b/" + d:                                 {1},
		"u/blob docker.io " + d:                  {1},
		"u/blob docker.io library/alpine sha256": {1},
		"u/manifest docker.io alpine latest":     {1}, // a tag
		"u/blob docker.io A " + d:                {1},
		"u/blob docker.io library/alpine " + d:   {2},
		"u/blob ghcr.io a/b " + d:                nil,
	} {
		if ref, err := decodeUpload(key, value); err == nil {
			t.Errorf("%q %v was decoded as %s", key, value, ref)
		}
	}
}
