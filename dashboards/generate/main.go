// Command generate writes the Grafana dashboards of mirrord. It is a module of its own,
// so that mirrord does not need the Grafana Foundation SDK, whose types hold the files
// to the schema of dashboards.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// files has each dashboard by the name of its file.
var files = map[string]board{
	"mirrord-overview.json":  overview,
	"mirrord-upstreams.json": upstreams,
}

func main() {
	dir := flag.String("out", "..", "the directory to write to")
	flag.Parse()
	if err := write(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	for name, b := range files {
		data, err := b.encode()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// encode returns the file of the dashboard.
func (b board) encode() ([]byte, error) {
	built, err := b.build()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(built)
	return out.Bytes(), err
}
