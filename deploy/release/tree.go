package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// entry is a file to pack: its content is that of source, or text when that is empty.
type entry struct {
	path   string // without a leading slash
	source string
	text   string
	mode   os.FileMode
}

// content returns what is packed.
func (e entry) content() ([]byte, error) {
	if e.source == "" {
		return []byte(e.text), nil
	}
	return os.ReadFile(e.source)
}

// from returns the files of a directory that match the pattern, each as an entry below to.
func from(dir, pattern, to string) ([]entry, error) {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("there is no %s in %s", pattern, dir)
	}
	var all []entry
	for _, path := range paths {
		all = append(all, entry{path: to + "/" + filepath.Base(path), source: path, mode: 0o644})
	}
	return all, err
}

// documents returns what a person reads, below to.
func (r *release) documents(to string) ([]entry, error) {
	docs, err := from(filepath.Join(r.root, "docs"), "*.md", to+"/docs")
	if err != nil {
		return nil, err
	}
	docs = append(docs, entry{path: to + "/README.md", source: filepath.Join(r.root, "README.md"), mode: 0o644})
	if license := filepath.Join(r.root, "LICENSE"); exists(license) {
		docs = append(docs, entry{path: to + "/LICENSE", source: license, mode: 0o644})
	}
	return docs, nil
}

// monitoring returns the dashboards for Grafana, and the alerts, recording rules and a
// configuration for Prometheus, below to.
func (r *release) monitoring(to string) ([]entry, error) {
	dir := filepath.Join(r.root, "dashboards")
	boards, err := from(dir, "*.json", to)
	if err != nil {
		return nil, err
	}
	rules, err := from(dir, "*.yml", to)
	return slices.Concat(boards, rules), err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// units returns the systemd units, as they are for a binary in /usr/bin, below to.
func (r *release) units(to string) ([]entry, error) {
	all, err := from(filepath.Join(r.root, "deploy", "systemd"), "mirrord.*", to)
	if err != nil {
		return nil, err
	}
	for i := range all {
		text, err := all[i].content()
		if err != nil {
			return nil, err
		}
		all[i].source, all[i].text = "", strings.ReplaceAll(string(text), "/usr/local/bin/", "/usr/bin/")
	}
	return all, nil
}

// sorted returns the entries of all lists in the order of their paths.
func sorted(lists ...[]entry) []entry {
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return all
}
