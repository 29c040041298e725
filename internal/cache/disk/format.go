package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// format is the version of the layout of a cache directory. A change that an older
// mirrord would mistake for damage increments it.
const format = 1

// ErrFormat says that a newer mirrord has written the directory.
var ErrFormat = errors.New("was written by a newer mirrord")

// CheckFormat fails with ErrFormat when dir has a newer format; otherwise it writes
// the current one to dir/format. It ignores a file that is not a number, and a
// failure to write: the next one to write to the disk will report that.
func CheckFormat(dir string) error {
	path := filepath.Join(dir, "format")
	raw, _ := os.ReadFile(path)
	number, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	switch {
	case err == nil && number > format:
		return fmt.Errorf("cache directory %s %w: it has format %d, this mirrord supports %d: upgrade, or choose another cache.dir", dir, ErrFormat, number, format)
	case err == nil && number == format:
		return nil
	}
	_ = os.WriteFile(path, []byte(strconv.Itoa(format)+"\n"), blobMode)
	return nil
}
