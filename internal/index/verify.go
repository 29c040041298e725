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

// verify reads every table of the database and checks its checksums. Badger
// opens tables in goroutines of its own, where a truncated file is a panic that
// ends the process, and so would end it at each start from then on. Here it is
// an error. Tables that the manifest does not list are left alone: a kill
// leaves half of one, and badger removes it.
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
		if isPassing(err) {
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
		if recover() != nil { // it holds a dump of the table
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

// sweep removes logs without a byte. Badger makes such a file and then sets its
// length; when a kill comes between the two it is an error at each start from
// then on.
func sweep(dir string) error {
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
