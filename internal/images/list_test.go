package images_test

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"testing"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/images"
	"mirrord/internal/oci"
	"mirrord/internal/route"
	"mirrord/internal/tags"
)

// mirror is what is cached and tagged, in memory.
type mirror struct {
	blobs map[oci.Digest]cache.BlobRecord
	raw   map[oci.Digest]string
	tags  []tags.Known
}

func newMirror() *mirror {
	return &mirror{blobs: make(map[oci.Digest]cache.BlobRecord), raw: make(map[oci.Digest]string)}
}

func (m *mirror) Blob(d oci.Digest) (cache.BlobRecord, bool) { r, ok := m.blobs[d]; return r, ok }

func (m *mirror) Peek(_ context.Context, d oci.Digest, _ int64) ([]byte, error) {
	if raw, ok := m.raw[d]; ok {
		return []byte(raw), nil
	}
	return nil, fs.ErrNotExist
}

func (m *mirror) All() []tags.Known { return m.tags }

func (m *mirror) Known(ref oci.Ref) (tags.Known, bool) {
	for _, k := range m.tags {
		if k.Ref == ref {
			return k, true
		}
	}
	return tags.Known{}, false
}

// add caches content and returns its digest.
func (m *mirror) add(raw string) oci.Digest {
	d := oci.FromBytes([]byte(raw))
	m.raw[d] = raw
	m.blobs[d] = cache.BlobRecord{Descriptor: oci.Descriptor{Digest: d, Size: int64(len(raw))}, Used: time.Unix(1, 0)}
	return d
}

func (m *mirror) tag(t *testing.T, name string, d oci.Digest) {
	t.Helper()
	ref, err := images.Parse(name, table)
	if err != nil {
		t.Fatal(err)
	}
	m.tags = append(m.tags, tags.Known{Record: tags.Record{Ref: ref, Latest: oci.Descriptor{Digest: d}}})
}

func (m *mirror) images() *images.Images {
	return images.New(images.Options{Tags: m, Cache: m, Routes: func() route.Table { return table }})
}

func descriptor(d oci.Digest, size int64) string {
	return fmt.Sprintf(`{"digest":%q,"size":%d}`, d, size)
}

// Bytes that two images have are shared by both; two tags of one image share nothing.
func TestListShared(t *testing.T) {
	m := newMirror()
	layer := m.add("a layer of both")
	config := m.add(`{"os":"linux","architecture":"arm64","variant":"v8"}`)
	manifest := func(extra string) oci.Digest {
		return m.add(fmt.Sprintf(`{"config":%s,"layers":[%s,%s]}`, descriptor(config, 1), descriptor(layer, 15), descriptor(m.add(extra), 9)))
	}
	one, two := manifest("one"), manifest("two")
	m.tag(t, "one:1", one)
	m.tag(t, "one:2", one)
	m.tag(t, "two:1", two)
	all, err := m.images().List(t.Context(), images.Pattern{})
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	want := m.blobs[layer].Size + m.blobs[config].Size
	for _, image := range all {
		if image.Shared != want || image.Size != want+m.blobs[image.Digest].Size+3 || strings.Join(image.Platforms, ",") != "linux/arm64/v8" {
			t.Errorf("%+v, want %d shared", image, want)
		}
	}
}

// Manifests that an upstream invents neither overflow a size nor show what is no word.
func TestHostileManifest(t *testing.T) {
	m := newMirror()
	big := descriptor(oci.FromBytes([]byte("big")), math.MaxInt64)
	bigger := descriptor(oci.FromBytes([]byte("bigger")), math.MaxInt64)
	image := m.add(fmt.Sprintf(`{"config":{"digest":"no digest","size":1},"layers":[%s,%s,%s,{"digest":"sha256:1","size":-1}]}`, big, bigger, bigger))
	self := m.add(fmt.Sprintf(`{"manifests":[{"digest":%q,"size":-5},{"digest":%q,"size":5,"platform":{"os":"\u001b[31m","architecture":"x"}}]}`, image, image))
	m.tag(t, "hostile", self)
	m.tag(t, "broken", m.add("{"))
	m.tag(t, "gone", oci.FromBytes([]byte("gone")))
	all := m.images()
	if list, err := all.List(t.Context(), images.Pattern{}); err != nil || len(list) != 3 {
		t.Errorf("%+v, %v", list, err)
	}
	ref, err := images.Parse("hostile", table)
	if err != nil {
		t.Fatal(err)
	}
	e := all.Explain(t.Context(), ref)
	if len(e.Variants) != 1 || e.Variants[0].Platform != "" || e.Variants[0].Missing != math.MaxInt64 || e.Variants[0].Blobs != 2 {
		t.Errorf("%+v", e)
	}
}

// A part of an index whose manifest is missing costs a pull, and a layer only its bytes.
func TestExplainCost(t *testing.T) {
	m := newMirror()
	have := m.add(fmt.Sprintf(`{"layers":[%s]}`, descriptor(oci.FromBytes([]byte("missing")), 100)))
	missing := oci.FromBytes([]byte("another"))
	m.tag(t, "app", m.add(fmt.Sprintf(`{"manifests":[{"digest":%q,"size":1,"platform":{"os":"linux","architecture":"amd64"}},{"digest":%q,"size":7,"platform":{"os":"linux","architecture":"arm64"}}]}`, have, missing)))
	ref, err := images.Parse("app", table)
	if err != nil {
		t.Fatal(err)
	}
	e := m.images().Explain(t.Context(), ref)
	if len(e.Variants) != 2 || e.Variants[0].Pulls != 0 || e.Variants[0].Missing != 100 || e.Variants[1].Pulls != 1 || e.Variants[1].Cached {
		t.Errorf("%+v", e)
	}
}

// A manifest that is evicted is no longer cached, though it was read before.
func TestExplainEvicted(t *testing.T) {
	m := newMirror()
	d := m.add(fmt.Sprintf(`{"layers":[%s]}`, descriptor(oci.FromBytes([]byte("layer")), 100)))
	m.tag(t, "app", d)
	ref, err := images.Parse("app", table)
	if err != nil {
		t.Fatal(err)
	}
	all := m.images()
	if e := all.Explain(t.Context(), ref); e.Size == 0 || len(e.Variants) != 1 {
		t.Fatalf("%+v", e)
	}
	delete(m.blobs, d)
	delete(m.raw, d)
	if e := all.Explain(t.Context(), ref); e.Size != 0 || len(e.Variants) != 0 {
		t.Errorf("evicted: %+v", e)
	}
}

// Requests are counted by how they were answered, and the last miss has its reason.
func TestSeen(t *testing.T) {
	m := newMirror()
	all := m.images()
	ref, err := images.Parse("app", table)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []images.Request{{Via: oci.Fill}, {Via: oci.Hit}, {Err: fmt.Errorf("down: %s", strings.Repeat("x", 1000))}, {Via: oci.Stale}} {
		r.Upstream, r.Repository, r.Tag = ref.Upstream(), ref.Repository(), ref.Tag()
		all.Seen.Note(r)
	}
	if uses := all.Seen.Of(ref); uses.Requests != 4 || uses.Hits != 2 || len(uses.Why) != 512 || !strings.HasPrefix(uses.Why, "down: ") {
		t.Errorf("%+v", uses)
	}
}
