package main

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// archives writes an archive of everything for each platform, for systems without
// packages.
func (r *release) archives() error {
	for _, p := range r.platforms {
		entries, err := r.archive(p)
		if err != nil {
			return err
		}
		if err := create(r.file("-"+p.String()+".tar.gz"), func(file *os.File) error {
			return r.writeArchive(file, entries)
		}); err != nil {
			return err
		}
	}
	return nil
}

// archive returns the content of the archive for p.
func (r *release) archive(p platform) ([]entry, error) {
	top := "mirrord-" + r.version + "-" + p.String()
	documents, err := r.documents(top)
	if err != nil {
		return nil, err
	}
	units, err := from(filepath.Join(r.root, "deploy", "systemd"), "mirrord.*", top+"/systemd")
	if err != nil {
		return nil, err
	}
	man, err := from(filepath.Join(r.share, "man"), "*.1", top+"/man")
	if err != nil {
		return nil, err
	}
	completions, err := from(filepath.Join(r.share, "completions"), "mirrord.*", top+"/completions")
	if err != nil {
		return nil, err
	}
	deploy, err := r.deployed(top)
	if err != nil {
		return nil, err
	}
	monitoring, err := r.monitoring(top + "/dashboards")
	if err != nil {
		return nil, err
	}
	return sorted(documents, units, man, completions, deploy, monitoring, []entry{
		{path: top + "/mirrord", source: r.binary(p), mode: 0o755},
		{path: top + "/mirrord.yaml", source: filepath.Join(r.share, "mirrord.yaml"), mode: 0o644},
	}), nil
}

// deployed returns what runs the image with Docker compose and in Kubernetes, below to. It
// leaves out passwords, which may lie beside the manifests of a checkout in use.
func (r *release) deployed(to string) (all []entry, err error) {
	for _, dir := range []string{"deploy/compose", "deploy/kubernetes"} {
		err := fs.WalkDir(os.DirFS(r.root), dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)) {
				all = append(all, entry{path: to + "/" + path, source: filepath.Join(r.root, path), mode: 0o644})
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (r *release) writeArchive(w io.Writer, entries []entry) error {
	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := r.writeTar(compressed, entries); err != nil {
		return err
	}
	return compressed.Close()
}

// writeTar writes entries as files of root with the time of the release.
func (r *release) writeTar(w io.Writer, entries []entry) error {
	archive := tar.NewWriter(w)
	for _, e := range entries {
		content, err := e.content()
		if err != nil {
			return err
		}
		header := &tar.Header{Name: e.path, Mode: int64(e.mode), Size: int64(len(content)), ModTime: r.time, Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	return archive.Close()
}
