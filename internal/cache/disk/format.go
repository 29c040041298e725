package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// format is how a cache directory is laid out. It is the first; a change that an
// older mirrord would take for damage gets the next number.
const format = 1

// ErrFormat is what CheckFormat's error wraps when a newer mirrord has laid out
// the directory.
var ErrFormat = errors.New("was laid out by a newer mirrord")

// CheckFormat fails with ErrFormat when dir is laid out in a way that is not
// known here, and else marks it with this format, in dir/format. What cannot be
// read as a number says nothing, and a disk that does not take the mark is told
// by what writes to it next.
func CheckFormat(dir string) error {
	path := filepath.Join(dir, "format")
	raw, _ := os.ReadFile(path)
	number, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	switch {
	case err == nil && number > format:
		return fmt.Errorf("cache directory %s %w: it has format %d, this one knows %d: upgrade, or choose another cache.dir", dir, ErrFormat, number, format)
	case err == nil && number == format:
		return nil
	}
	_ = os.WriteFile(path, []byte(strconv.Itoa(format)+"\n"), blobMode)
	return nil
}
