package index

import (
	"testing"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/retention"
)

// Pins survive a restart, and what is unpinned does not come back.
func TestPins(t *testing.T) {
	dir := t.TempDir()
	ix := open(t, dir)
	tag, err := oci.ParseManifest("docker.io", "library/alpine", "3")
	check(t, err)
	d := oci.FromBytes([]byte("manifest"))
	since := time.Unix(1_700_000_000, 0)
	first := retention.Pin{Ref: tag, Since: since}
	moved := retention.Pin{Ref: tag, Since: since, Digest: d}
	digest := retention.Pin{Ref: tag.At(d), Since: since, Digest: d}
	other, err := oci.ParseManifest("ghcr.io", "a/b", "v1")
	check(t, err)
	check(t, ix.UpdatePins([]retention.Pin{first, digest, {Ref: other, Since: since}}, nil))
	check(t, ix.UpdatePins([]retention.Pin{moved}, []oci.Ref{other}))
	check(t, ix.UpdatePins(nil, []oci.Ref{other}))
	closeIndex(t, ix)
	ix = open(t, dir)
	defer closeIndex(t, ix)
	got := make(map[oci.Ref]retention.Pin)
	for p, err := range ix.Pins() {
		check(t, err)
		if !p.Since.Equal(since) {
			t.Errorf("%s was pinned at %s, not %s", p.Ref, p.Since, since)
		}
		p.Since = since
		got[p.Ref] = p
	}
	want(t, got, map[oci.Ref]retention.Pin{moved.Ref: moved, digest.Ref: digest})
}

func TestDecodeDamagedPin(t *testing.T) {
	valid := encodePin(retention.Pin{Since: time.Unix(1, 0)})
	if _, err := decodePin("p/docker.io library/alpine 3", valid); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string][]byte{
		"b/docker.io library/alpine 3":     valid,
		"p/docker.io library/alpine":       valid,
		"p/docker.io A 3":                  valid,
		"p/docker.io library/alpine :":     valid,
		"p/docker.io library/alpine 4":     nil,
		"p/docker.io library/alpine 5":     {2},
		"p/docker.io library/alpine 6":     valid[:len(valid)-1],
		"p/docker.io library/alpine 7":     append(valid[:len(valid):len(valid)], 0),
		"p/docker.io library/alpine 8":     append(append([]byte{}, valid[:len(valid)-1]...), 3, 'a', 'b', 'c'),
		"p/docker.io library/alpine 9 ten": valid,
	} {
		if p, err := decodePin(key, value); err == nil {
			t.Errorf("%q %v was decoded as %+v", key, value, p)
		}
	}
}
