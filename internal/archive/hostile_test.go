package archive_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mirrord/internal/archive"
	"mirrord/internal/oci"
)

// What is not an archive, or one that lies, imports no tag, and writes no file beside
// the cache.
func TestHostile(t *testing.T) {
	s := newSample(t, "app")
	whole := []file{blob(s.blobs[0]), blob(s.blobs[1]), blob(s.amd64), blob(s.index)}
	app := names(t, "docker.io/library/app:1", s.index)
	as := func(name string, f file) file {
		f.name = name
		return f
	}
	link := func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "/etc/passwd", 0 }
	wrong := file{name: archive.BlobPath(oci.FromBytes([]byte("other"))), raw: []byte("something")}
	loop := index(t, map[string][]byte{"linux/amd64": s.index})
	for range 5 {
		loop = index(t, map[string][]byte{"linux/amd64": loop})
	}
	for _, test := range []struct {
		name string
		raw  []byte
		want string // in the error of the import, or of the image
	}{
		{"empty", nil, "is empty"},
		{"gzip", []byte("\x1f\x8b\x08\x00 and so on"), "compressed with gzip: unpack"},
		{"text", bytes.Repeat([]byte("text\n"), 1000), "damaged or truncated"},
		{"no index", pack(t, append(whole, layout)...), "has no index.json"},
		{"docker save", pack(t, file{name: "manifest.json", raw: []byte("[]")}), "has no index.json"},
		{"two indexes", pack(t, layout, app, app), "it is there twice"},
		{"index is not JSON", pack(t, file{name: "index.json", raw: []byte("{")}), "invalid JSON"},
		{"index is huge", pack(t, file{name: "index.json", raw: make([]byte, 5<<20)}), "more than 4194304 bytes"},
		{"index without images", pack(t, file{name: "index.json", raw: []byte(`{"schemaVersion":2}`)}), "names no images"},
		{"index of another version", pack(t, file{name: "index.json", raw: []byte(`{"schemaVersion":1}`)}), "schemaVersion is 1"},
		{"invalid digest", pack(t, file{name: "index.json", raw: []byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:../../x"}]}`)}), "invalid digest"},
		{"negative size", pack(t, file{name: "index.json", raw: bytes.Replace(app.raw, []byte(`"size":`), []byte(`"size":-`), 1)}), "negative size"},
		{"layout of another version", pack(t, file{name: "oci-layout", raw: []byte(`{"imageLayoutVersion":"2.0.0"}`)}, app), `version "2.0.0"`},
		{"wrong digest", pack(t, append(whole, wrong, app)...), "does not match its digest"},
		{"blob is a link", pack(t, file{name: blob(s.index).name, change: link}, app), "link or a device"},
		{"index is a link", pack(t, file{name: "index.json", change: link}), "link or a device"},
		{"no manifest", pack(t, append(whole[:3:3], app)...), "not complete"},
		{"no layer", pack(t, append(whole[1:len(whole):len(whole)], app)...), "not complete"},
		{"no platform", pack(t, whole[3], app), "not complete"},
		{"a blob as manifest", pack(t, append(whole, names(t, "docker.io/library/app:1", s.blobs[0]))...), "not complete"},
		{"name without tag", pack(t, append(whole, names(t, "1", s.index))...), "--as"},
		{"no name", pack(t, append(whole, names(t, "", s.index))...), "--as"},
		{"foreign upstream", pack(t, append(whole, names(t, "unknown.example/app:1", s.index))...), "no upstream"},
		{"invalid name", pack(t, append(whole, names(t, "docker.io/../../etc:1", s.index))...), "invalid repository name"},
		{"another digest", pack(t, append(whole, names(t, "docker.io/app@"+oci.FromBytes(nil).String(), s.index))...), "under this name"},
		{"blob outside", pack(t, append(whole[:3:3], as("../"+blob(s.index).name, whole[3]), app)...), "not complete"},
		{"absolute blob", pack(t, append(whole[:3:3], as("/"+blob(s.index).name, whole[3]), app)...), "not complete"},
		{"deep", pack(t, append(whole, blob(loop), names(t, "docker.io/library/app:1", loop))...), "not complete"},
	} {
		f := start(t)
		sum, err := importAll(t, f, bytes.NewReader(test.raw), archive.ImportOptions{})
		got := ""
		if err != nil {
			got = err.Error()
		}
		for _, image := range sum.Images {
			got += image.Error
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if len(f.Index.TagRecords) > 0 {
			t.Errorf("%s: tagged %v", test.name, f.Index.TagRecords)
		}
		if outside, _ := filepath.Glob(filepath.Join(filepath.Dir(f.Dir), "*blobs*")); len(outside) > 0 {
			t.Errorf("%s: wrote %v", test.name, outside)
		}
		f.Stop()
	}
}

// A sparse file of a terabyte has a few hundred bytes in the archive.
func TestSparse(t *testing.T) {
	for _, name := range []string{"sparse.tar", "sparse-pax.tar"} {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = importAll(t, start(t), bytes.NewReader(raw), archive.ImportOptions{})
		if err == nil || !strings.Contains(err.Error(), "sparse") && !strings.Contains(err.Error(), "link or a device") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Directories, a leading dot, files of docker save and repeated blobs are no mistake.
func TestTolerated(t *testing.T) {
	s := newSample(t, "app")
	dir := file{name: "blobs/sha256/", change: func(h *tar.Header) { h.Typeflag = tar.TypeDir }}
	dotted := blob(s.index)
	dotted.name = "./" + dotted.name
	raw := pack(t, dir, blob(s.blobs[0]), blob(s.blobs[0]), blob(s.blobs[1]), blob(s.amd64), dotted,
		file{name: "manifest.json", raw: []byte("[]")}, layout, names(t, "app", s.index))
	f := start(t)
	sum, err := importAll(t, f, bytes.NewReader(raw), archive.ImportOptions{As: "docker.io/library/app:2"})
	if err != nil || sum.Failed() > 0 || sum.Blobs != 4 || sum.Present != 1 || sum.Skipped != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	if _, ok := f.Known(mustParse(t, "docker.io/library/app:2")); !ok {
		t.Error("not tagged as it was named")
	}
}

// Partial takes an image without a layer, and says so.
func TestPartial(t *testing.T) {
	s := newSample(t, "app")
	raw := pack(t, blob(s.blobs[0]), blob(s.amd64), blob(s.index), names(t, "docker.io/library/app:1", s.index))
	sum, err := importAll(t, start(t), bytes.NewReader(raw), archive.ImportOptions{Partial: true})
	if err != nil || sum.Failed() > 0 || !strings.Contains(sum.Images[0].Notes, "is missing") {
		t.Errorf("%+v, %v", sum, err)
	}
}

func FuzzImport(f *testing.F) {
	s := newSample(f, "app")
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`), s.index, s.amd64)
	f.Add(names(f, "docker.io/library/app:1", s.index).raw, s.index, s.amd64)
	f.Add(names(f, "a", s.amd64).raw, []byte(`{"schemaVersion":2,"config":{},"layers":[{"digest":""}]}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, rawIndex, first, second []byte) {
		mirror := start(t)
		raw := pack(t, blob(first), blob(second), file{name: "index.json", raw: rawIndex})
		sum, err := importAll(t, mirror, bytes.NewReader(raw), archive.ImportOptions{})
		if err != nil && len(sum.Images) > 0 {
			t.Errorf("%v, and yet %v", err, sum.Images)
		}
		if len(mirror.Index.TagRecords) > len(sum.Images)-sum.Failed() {
			t.Errorf("tagged %v, and reported %v", mirror.Index.TagRecords, sum.Images)
		}
	})
}
