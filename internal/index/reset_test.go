package index

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
)

// filled creates an index whose records are in a table, and closes it.
func filled(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "index")
	ix := open(t, dir)
	check(t, ix.PutBlobs(blob(1), blob(2)))
	closeIndex(t, ix)
	return dir
}

func reset(t *testing.T, dir string) error {
	t.Helper()
	var rebuilt error
	ix, err := OpenOrReset(dir, Options{Damaged: func(why error) { rebuilt = why }})
	check(t, err)
	defer closeIndex(t, ix)
	if rebuilt == nil {
		want(t, blobs(t, ix), map[oci.Digest]cache.BlobRecord{blob(1).Digest: blob(1), blob(2).Digest: blob(2)})
		return nil
	}
	want(t, blobs(t, ix), map[oci.Digest]cache.BlobRecord{})
	check(t, ix.PutBlobs(blob(1)))
	return rebuilt
}

func quarantined(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(dir + damagedSuffix + "*")
	check(t, err)
	return paths
}

func TestResetLeavesIntactIndex(t *testing.T) {
	dir := filled(t)
	if err := reset(t, dir); err != nil {
		t.Errorf("an intact index was rebuilt: %v", err)
	}
	if got := quarantined(t, dir); len(got) > 0 {
		t.Errorf("quarantined: %v", got)
	}
}

func TestReset(t *testing.T) {
	truncate := func(name string, size int64) func(dir string) error {
		return func(dir string) error { return os.Truncate(filepath.Join(dir, name), size) }
	}
	for name, damage := range map[string]func(dir string) error{
		"empty manifest": truncate(badger.ManifestFilename, 0),
		"short table":    truncate("000001.sst", 100),
		"empty table":    truncate("000001.sst", 0),
		"missing table":  func(dir string) error { return os.Remove(filepath.Join(dir, "000001.sst")) },
		"flipped bit":    func(dir string) error { return flip(filepath.Join(dir, "000001.sst"), 10) },
		"flipped footer": func(dir string) error { return flip(filepath.Join(dir, "000001.sst"), -3) },
		"flipped magic":  func(dir string) error { return flip(filepath.Join(dir, badger.ManifestFilename), 1) },
		"foreign content": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, badger.ManifestFilename), []byte("?"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			older := dir + damagedSuffix + "1"
			check(t, os.Mkdir(older, 0o750))
			check(t, damage(dir))
			if _, err := Open(dir, Options{}); !errors.Is(err, ErrDamaged) {
				t.Fatalf("open: %v, want ErrDamaged", err)
			}
			if err := reset(t, dir); !errors.Is(err, ErrDamaged) {
				t.Fatalf("rebuilt: %v, want ErrDamaged", err)
			}
			if got := quarantined(t, dir); len(got) != 1 || got[0] == older {
				t.Errorf("quarantined: %v, want one, not %s", got, older)
			}
		})
	}
}

func flip(name string, at int) error {
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if at < 0 {
		at += len(content)
	}
	content[at] ^= 0x40
	return os.WriteFile(name, content, 0o600)
}

// A kill while a table is written leaves a partial one that the manifest does not
// list.
func TestUnlistedTableIsNotDamage(t *testing.T) {
	dir := filled(t)
	check(t, os.WriteFile(filepath.Join(dir, "000009.sst"), make([]byte, 100), 0o600))
	if err := reset(t, dir); err != nil {
		t.Errorf("rebuilt: %v", err)
	}
}

// A kill may leave a log of zero bytes.
func TestEmptyLogIsNotDamage(t *testing.T) {
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		dir := filled(t)
		check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		if err := reset(t, dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResetNeverTouchesNewerOrUsed(t *testing.T) {
	dir := filled(t)
	ix := open(t, dir)
	if _, err := OpenOrReset(dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("in use: %v", err)
	}
	check(t, ix.db.Update(func(txn *badger.Txn) error { return txn.Set([]byte(schemaKey), []byte{schemaVersion + 1}) }))
	closeIndex(t, ix)
	if _, err := OpenOrReset(dir, Options{}); !errors.Is(err, ErrVersion) {
		t.Errorf("newer: %v", err)
	}
	if got := quarantined(t, dir); len(got) > 0 {
		t.Errorf("quarantined: %v", got)
	}
}
