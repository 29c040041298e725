package clientconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidwall/pretty"
	"github.com/tidwall/sjson"
)

// Result is what became of a file.
type Result struct {
	Path    string `json:"path"`
	Written bool   `json:"written"`          // false: it had that content already, or is left to a person
	Backup  string `json:"backup,omitempty"` // of what was there, which has other settings too
	Excerpt bool   `json:"excerpt,omitempty"`
}

// ErrForeign says that a file is not from this program and must not be replaced.
var ErrForeign = errors.New("it is not from this command; remove it, or add to it by hand")

// mark begins the files that this program writes, and replaces, also for another client:
// podman and CRI-O read the same one.
const mark = "# Written by mirrord client-config "

// Install writes the files of c below dir, which is c.Dir or takes its place, each in one
// step for those who read it. Before it writes any it finds out whether it may write all:
// it fails with ErrForeign for one of somebody else, and for a shared file that is invalid.
func (c Config) Install(dir string) ([]Result, error) {
	var all []install
	for _, f := range c.Files {
		i, err := c.plan(f, filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", i.path, err)
		}
		all = append(all, i)
	}
	var results []Result
	for _, i := range all {
		r, err := i.run()
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

// install is a file that is to be written.
type install struct {
	path    string // what a link leads to
	old     []byte // nil: there is none
	text    []byte // nil: nothing is to be written
	mode    fs.FileMode
	backup  bool
	excerpt bool
}

func (c Config) plan(f File, path string) (install, error) {
	i := install{path: path, mode: 0o644, excerpt: f.Excerpt}
	if f.Excerpt {
		return i, nil
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		i.path = real
	}
	info, err := os.Stat(i.path)
	if err == nil {
		i.mode = info.Mode().Perm()
		i.old, err = os.ReadFile(i.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return i, err
	}
	switch {
	case f.Shared:
		i.text, err = merge(i.old, f.Text)
		i.backup = i.old != nil
	case i.old != nil && !bytes.HasPrefix(i.old, []byte(mark)):
		err = fmt.Errorf("%w:\n%s", ErrForeign, f.Text)
	default:
		i.text = []byte(mark + c.Client + ".\n" + f.Text)
	}
	if bytes.Equal(i.text, i.old) {
		i.text = nil
	}
	return i, err
}

// merge returns the JSON object old with the lists of own, whose entries come first. All
// else stays, in its order.
func merge(old []byte, own string) ([]byte, error) {
	if len(bytes.TrimSpace(old)) == 0 {
		return []byte(own), nil
	}
	var present map[string]json.RawMessage
	if err := json.Unmarshal(old, &present); err != nil {
		return nil, fmt.Errorf("invalid JSON, which is left as it is: %w", err)
	}
	if present == nil {
		return nil, errors.New("not a JSON object, which is left as it is")
	}
	var lists map[string][]string
	if err := json.Unmarshal([]byte(own), &lists); err != nil {
		return nil, err
	}
	for key, entries := range lists {
		var others []string
		if raw, ok := present[key]; ok {
			if err := json.Unmarshal(raw, &others); err != nil {
				return nil, fmt.Errorf("%s is not a list of texts, and is left as it is: %w", key, err)
			}
		}
		if len(others) >= len(entries) && slices.Equal(others[:len(entries)], entries) {
			continue
		}
		others = slices.DeleteFunc(others, func(e string) bool { return slices.Contains(entries, strings.TrimSuffix(e, "/")) })
		var err error
		if old, err = sjson.SetBytes(old, key, append(entries, others...)); err != nil {
			return nil, err
		}
		old = pretty.Pretty(old)
	}
	return old, nil
}

func (i install) run() (Result, error) {
	r := Result{Path: i.path, Excerpt: i.excerpt}
	if i.text == nil {
		return r, nil
	}
	if err := os.MkdirAll(filepath.Dir(i.path), 0o755); err != nil {
		return r, err
	}
	if i.backup {
		r.Backup = i.path + ".bak"
		_, err := os.Lstat(r.Backup)
		if errors.Is(err, fs.ErrNotExist) { // one from before has what a person wrote
			err = replace(r.Backup, i.old, i.mode)
		}
		if err != nil {
			return r, err
		}
	}
	r.Written = true
	return r, replace(i.path, i.text, i.mode)
}

// replace writes a file under another name and renames it.
func replace(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
