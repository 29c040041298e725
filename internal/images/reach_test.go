package images_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"mirrord/internal/images"
	"mirrord/internal/oci"
	"mirrord/internal/route"
)

// manifest caches a manifest and returns its digest.
func (m *mirror) manifest(raw string) oci.Digest {
	d := m.add(raw)
	record := m.blobs[d]
	record.MediaType = "application/json"
	m.blobs[d] = record
	return d
}

// What an index in an index names is needed, and one that names the same ones over and over
// is read once.
func TestReachNested(t *testing.T) {
	m := newMirror()
	layer := m.add("a layer")
	top := m.manifest(fmt.Sprintf(`{"layers":[%s]}`, descriptor(layer, 1)))
	for i := range 30 {
		other := m.manifest(fmt.Sprintf(`{"manifests":[%s],"i":%d}`, descriptor(top, 1), i))
		top = m.manifest(fmt.Sprintf(`{"manifests":[%s,%s]}`, descriptor(top, 1), descriptor(other, 1)))
	}
	reached := make(map[oci.Digest]int64)
	if err := m.images().Reach(t.Context(), oci.Descriptor{Digest: top}, reached); err != nil || len(reached) != 62 || reached[layer] != 7 {
		t.Errorf("%d reached, %d bytes, %v", len(reached), reached[layer], err)
	}
}

// unreadable is a mirror whose disk fails.
type unreadable struct{ *mirror }

func (unreadable) Peek(context.Context, oci.Digest, int64) ([]byte, error) {
	return nil, &fs.PathError{Op: "read", Path: "x", Err: syscall.EIO}
}

// What needs more than can be found out is not taken for what needs nothing.
func TestReachUnreadable(t *testing.T) {
	m := newMirror()
	d := m.manifest(`{"layers":[]}`)
	all := images.New(images.Options{Tags: m, Cache: unreadable{m}, Routes: func() route.Table { return table }})
	if err := all.Reach(t.Context(), oci.Descriptor{Digest: d}, make(map[oci.Digest]int64)); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
}
