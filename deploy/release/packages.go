package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // a format that nfpm.Get knows
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // another
)

// formats has what the packages of the distributions do not have in common.
var formats = map[string]struct {
	zsh     string // where its zsh looks for completions
	scripts nfpm.Scripts
}{
	"deb": {"usr/share/zsh/vendor-completions", scripts("deb")},
	"rpm": {"usr/share/zsh/site-functions", scripts("rpm")},
}

// scripts returns the names of the scripts of a format in the directory scripts.
func scripts(format string) nfpm.Scripts {
	return nfpm.Scripts{
		PostInstall: format + "-postinst.sh",
		PreRemove:   format + "-prerm.sh",
		PostRemove:  format + "-postrm.sh",
	}
}

// packages writes a package of each format for each platform.
func (r *release) packages() error {
	for format := range formats {
		for _, p := range r.platforms {
			if err := r.pack(format, p); err != nil {
				return fmt.Errorf("%s for %s: %w", format, p, err)
			}
		}
	}
	return nil
}

func (r *release) pack(format string, p platform) error {
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	staged, err := os.MkdirTemp("", "mirrord-package-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(staged) }()
	info := r.info(format, p)
	if info.Contents, err = r.contents(format, p, staged); err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	return create(filepath.Join(r.out, packager.ConventionalFileName(info)), func(file *os.File) error {
		return packager.Package(info, file)
	})
}

// info returns all but the content of a package.
func (r *release) info(format string, p platform) *nfpm.Info {
	s, depends := formats[format].scripts, []string{"ca-certificates"}
	if format == "deb" {
		depends = append(depends, "procps") // for kill, in the unit
	}
	for _, name := range []*string{&s.PostInstall, &s.PreRemove, &s.PostRemove} {
		*name = filepath.Join(r.root, "deploy", "release", "scripts", *name)
	}
	return &nfpm.Info{
		Name:       "mirrord",
		Arch:       p.arch(),
		Platform:   p.os(),
		Version:    r.version,
		Release:    "1",
		Section:    "net",
		Priority:   "optional",
		Maintainer: r.maintainer,
		Vendor:     "mirrord",
		MTime:      r.time,
		Description: "pull-through mirror for container registries\n" +
			"mirrord sits between the clients of an office, a cluster or a CI farm and\n" +
			"Docker Hub or other registries. What was fetched once is served from disk,\n" +
			"also while the registry is down or its pull limit is reached.",
		Overridables: nfpm.Overridables{
			Depends: depends,
			Scripts: s,
			Deb:     nfpm.Deb{Compression: "gzip:9"},
			RPM: nfpm.RPM{
				Summary:     "Pull-through mirror for container registries",
				Compression: "gzip:9",
				BuildHost:   "localhost",
			},
		},
	}
}

// contents returns what a package installs. Files are written to the directory staged
// first, because nfpm reads them from there.
func (r *release) contents(format string, p platform, staged string) (files.Contents, error) {
	entries, err := r.installed(format, p)
	if err != nil {
		return nil, err
	}
	var contents files.Contents
	for i, e := range entries {
		content, err := e.content()
		if err != nil {
			return nil, err
		}
		source := filepath.Join(staged, fmt.Sprint(i))
		if err := os.WriteFile(source, content, 0o600); err != nil {
			return nil, err
		}
		kind := files.TypeFile
		switch {
		case strings.HasPrefix(e.path, "etc/"):
			kind = files.TypeConfigNoReplace
		case format == "rpm" && strings.HasPrefix(e.path, "usr/share/doc/"):
			kind = files.TypeRPMDoc
		}
		contents = append(contents, &files.Content{
			Source: source, Destination: "/" + e.path, Type: kind,
			FileInfo: &files.ContentFileInfo{Mode: e.mode, Owner: "root", Group: "root", MTime: r.time},
		})
	}
	if format == "rpm" { // rpm removes only directories that a package owns
		for _, dir := range []string{"/usr/share/doc/mirrord", "/usr/share/doc/mirrord/docs", "/usr/share/mirrord", "/usr/share/mirrord/dashboards"} {
			contents = append(contents, &files.Content{
				Destination: dir, Type: files.TypeDir,
				FileInfo: &files.ContentFileInfo{Mode: 0o755, Owner: "root", Group: "root", MTime: r.time},
			})
		}
	}
	return contents, nil
}

// installed returns the files of a package.
func (r *release) installed(format string, p platform) ([]entry, error) {
	units, err := r.units("usr/lib/systemd/system")
	if err != nil {
		return nil, err
	}
	man, err := from(filepath.Join(r.share, "man"), "*.1", "usr/share/man/man1")
	if err != nil {
		return nil, err
	}
	for i := range man {
		if man[i], err = compressed(man[i]); err != nil {
			return nil, err
		}
	}
	documents, err := r.documents("usr/share/doc/mirrord")
	if err != nil {
		return nil, err
	}
	if format == "deb" {
		if documents, err = r.debian(documents); err != nil {
			return nil, err
		}
	}
	monitoring, err := r.monitoring("usr/share/mirrord/dashboards")
	return sorted(units, man, documents, monitoring, r.completions(format), []entry{
		{path: "usr/bin/mirrord", source: r.binary(p), mode: 0o755},
		{path: "etc/logrotate.d/mirrord", source: filepath.Join(r.root, "deploy", "logrotate", "mirrord"), mode: 0o644},
		{path: "etc/mirrord/mirrord.yaml", source: filepath.Join(r.share, "mirrord.yaml"), mode: 0o644},
	}), err
}

func (r *release) completions(format string) []entry {
	dir := filepath.Join(r.share, "completions")
	return []entry{
		{path: "usr/share/bash-completion/completions/mirrord", source: filepath.Join(dir, "mirrord.bash"), mode: 0o644},
		{path: "usr/share/fish/vendor_completions.d/mirrord.fish", source: filepath.Join(dir, "mirrord.fish"), mode: 0o644},
		{path: formats[format].zsh + "/_mirrord", source: filepath.Join(dir, "mirrord.zsh"), mode: 0o644},
	}
}

// debian returns the documents as Debian's policy has them: with a copyright file, both
// changelogs, compressed, and the overrides of lintian.
func (r *release) debian(documents []entry) ([]entry, error) {
	const dir = "usr/share/doc/mirrord/"
	var all []entry
	for _, e := range documents {
		switch filepath.Base(e.path) {
		case "CHANGELOG.md":
			e.path = dir + "changelog"
			packed, err := compressed(e)
			if err != nil {
				return nil, err
			}
			all = append(all, packed)
		case "LICENSE": // is the copyright file
		default:
			all = append(all, e)
		}
	}
	log, err := compressed(entry{path: dir + "changelog.Debian", text: r.debianChangelog(), mode: 0o644})
	if err != nil {
		return nil, err
	}
	return append(all, log, r.copyright(dir+"copyright"), entry{
		path:   "usr/share/lintian/overrides/mirrord",
		source: filepath.Join(r.root, "deploy", "release", "lintian-overrides"), mode: 0o644,
	}), nil
}

// debianChangelog returns the log of the package itself, which has one entry.
func (r *release) debianChangelog() string {
	version := strings.Replace(strings.TrimPrefix(r.version, "v"), "-", "~", 1)
	return fmt.Sprintf("mirrord (%s-1) unstable; urgency=medium\n\n  * %s; changelog.gz has the changes.\n\n -- %s  %s\n",
		version, r.version, r.maintainer, r.time.Format(time.RFC1123Z))
}

// copyright returns the copyright file: the license of the source, if it has one.
func (r *release) copyright(path string) entry {
	if license := filepath.Join(r.root, "LICENSE"); exists(license) {
		return entry{path: path, source: license, mode: 0o644}
	}
	return entry{path: path, mode: 0o644, text: fmt.Sprintf("Copyright %d the authors of mirrord\n\n", r.time.Year()) +
		"The source has no license: ask its authors before you pass this package on.\n"}
}

// compressed returns e as a file .gz.
func compressed(e entry) (entry, error) {
	content, err := e.content()
	if err != nil {
		return entry{}, err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return entry{}, err
	}
	if _, err := w.Write(content); err != nil {
		return entry{}, err
	}
	if err := w.Close(); err != nil {
		return entry{}, err
	}
	return entry{path: e.path + ".gz", text: b.String(), mode: e.mode}, nil
}
