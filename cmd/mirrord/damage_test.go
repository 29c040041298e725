package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestDamage damages the cache directory between two runs of a mirror. What is
// intact is served, the rest is fetched again, and no file must be deleted by hand.
func TestDamage(t *testing.T) {
	c := newCatalog(t)
	c.addLayers(t, "library/small", 2, 40_000, 1)
	c.addLayers(t, "library/large", 2, 400_000, 2)
	const blobs, manifests = 2 + 1 + 2 + 1, 2
	for name, test := range map[string]struct {
		harm             harm
		blobs, manifests int // that are fetched again
		indexes          int // that are quarantined
	}{
		"nothing":                               {harm: func(_, _ string) error { return nil }},
		"a blob is gone":                        {harm: removeBlob, blobs: 1},
		"a blob is empty":                       {harm: truncate(0), blobs: 1},
		"a blob is cut":                         {harm: truncate(1000), blobs: 1},
		"a blob is longer":                      {harm: truncate(1 << 20), blobs: 1},
		"a blob is a directory":                 {harm: makeDirectory, blobs: 1},
		"blobs/ is gone":                        {harm: remove("blobs"), blobs: blobs, manifests: manifests},
		"fills/ is gone":                        {harm: remove("fills")},
		"index/ is gone":                        {harm: remove("index")},
		"the index is cut":                      {harm: cutIndex, indexes: 1},
		"index/ is gone, a blob is cut":         {harm: both(remove("index"), truncate(1000)), blobs: 1},
		"index/ is gone, a blob is another":     {harm: both(remove("index"), overwrite), blobs: 1},
		"index/ is gone, a blob is a directory": {harm: both(remove("index"), makeDirectory), blobs: 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirror(t)
			check(t, m.serve(c.upstream()))
			c.pullAll(t, m)
			check(t, m.end(terminate))
			check(t, test.harm(m.cache, m.blobPath(c.largest())))
			c.hub.Reset()
			check(t, m.serve(c.upstream()))
			c.pullAll(t, m)
			check(t, m.end(terminate))
			if n := c.hub.Counters(); n.BlobGETs != test.blobs || n.ManifestGETs != test.manifests {
				t.Errorf("%d blobs and %d manifests were fetched again, want %d and %d\n%s", n.BlobGETs, n.ManifestGETs, test.blobs, test.manifests, m.text())
			}
			found, err := takeStock(m.cache)
			if err != nil || len(found.blobs) != blobs+manifests || found.indexes != test.indexes {
				t.Errorf("%d blobs and %d quarantined indexes are left: %v; want %d and %d", len(found.blobs), found.indexes, err, blobs+manifests, test.indexes)
			}
		})
	}
}

type harm func(dir, blob string) error

func remove(what string) harm {
	return func(dir, _ string) error { return os.RemoveAll(filepath.Join(dir, what)) }
}

func removeBlob(_, blob string) error { return os.Remove(blob) }

func truncate(size int64) harm {
	return func(_, blob string) error { return os.Truncate(blob, size) }
}

// overwrite leaves other bytes, as many of them.
func overwrite(_, blob string) error {
	info, err := os.Stat(blob)
	if err != nil {
		return err
	}
	return os.WriteFile(blob, make([]byte, info.Size()), 0o640)
}

// makeDirectory puts a directory with a file in the place of a blob.
func makeDirectory(_, blob string) error {
	return errors.Join(os.Remove(blob), os.Mkdir(blob, 0o750), os.WriteFile(filepath.Join(blob, "file"), nil, 0o640))
}

// cutIndex leaves less of the index's manifest than tells what it is.
func cutIndex(dir, _ string) error { return os.Truncate(filepath.Join(dir, "index", "MANIFEST"), 3) }

func both(first, second harm) harm {
	return func(dir, blob string) error { return errors.Join(first(dir, blob), second(dir, blob)) }
}
