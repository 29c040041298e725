package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// verify reads all tables of the database and checks their checksums. Badger opens
// tables in its own goroutines, where a truncated file causes a panic that ends the
// process, at every start. Here it is an error. Tables that the manifest does not
// list are ignored: a kill leaves a partial one, which badger removes.
func verify(o badger.Options) error {
	f, err := os.Open(filepath.Join(o.Dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, o.ExternalMagicVersion, o)
	if err != nil {
		return fmt.Errorf("%w: read manifest: %w", ErrDamaged, err)
	}
	for id := range manifest.Tables {
		err := verifyTable(table.NewFilename(id, o.Dir))
		if isTransient(err) {
			return fmt.Errorf("%w: %w", errDisk, err)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return nil
}

func verifyTable(name string) (err error) {
	defer func() {
		if recover() != nil { // the value has a dump of the table
			err = fmt.Errorf("table %s is malformed", name)
		}
	}()
	f, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	t, err := table.OpenTable(f, table.Options{ChkMode: options.OnTableRead})
	if err != nil {
		return err
	}
	return t.Close(-1)
}

// removeEmptyLogs removes logs of zero bytes. Badger creates a log and then sets its
// length; a kill in between makes every later start fail.
func removeEmptyLogs(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		switch filepath.Ext(file.Name()) {
		case ".mem", ".vlog":
			info, err := file.Info()
			if err == nil && info.Size() == 0 {
				err = os.Remove(filepath.Join(dir, file.Name()))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
