package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"os"
	slashpath "path"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"
	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"golang.org/x/mod/module"
)

// sboms writes, for each platform, what its binary consists of.
func (r *release) sboms() error {
	for _, p := range r.platforms {
		doc, err := r.sbom(p)
		if err != nil {
			return err
		}
		if err := create(r.file("-"+p.String()+".spdx.json"), func(file *os.File) error {
			return json.Write(doc, file, json.Indent("  "))
		}); err != nil {
			return err
		}
	}
	return nil
}

// sbom describes the binary for p by what the linker has recorded in it.
func (r *release) sbom(p platform) (*spdx.Document, error) {
	binary := r.binary(p)
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	main := component("mirrord", r.version)
	main.PackageFileName = filepath.Base(binary)
	main.PrimaryPackagePurpose = "APPLICATION"
	main.PackageChecksums = []spdx.Checksum{{Algorithm: spdx.SHA256, Value: sum}}
	main.PackageSourceInfo = "commit " + r.commit

	name := "mirrord-" + r.version + "-" + p.String()
	doc := &spdx.Document{
		SPDXVersion:       spdx.Version,
		DataLicense:       spdx.DataLicense,
		SPDXIdentifier:    "DOCUMENT",
		DocumentName:      name,
		DocumentNamespace: "https://spdx.org/spdxdocs/" + strings.ReplaceAll(name, "+", "-") + "-" + sum,
		CreationInfo: &spdx.CreationInfo{
			Creators: []spdx.Creator{{CreatorType: "Tool", Creator: "mirrord-release"}},
			Created:  r.time.Format(time.RFC3339),
		},
		Packages:      []*spdx.Package{main},
		Relationships: []*spdx.Relationship{relation("DOCUMENT", spdx.RelationshipDescribes, main.PackageSPDXIdentifier)},
	}
	for _, c := range components(info) {
		doc.Packages = append(doc.Packages, c)
		doc.Relationships = append(doc.Relationships, relation(main.PackageSPDXIdentifier, spdx.RelationshipContains, c.PackageSPDXIdentifier))
	}
	return doc, nil
}

// components returns the modules of a binary, and Go's standard library.
func components(info *buildinfo.BuildInfo) []*spdx.Package {
	all := []*spdx.Package{component("stdlib", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, m := range info.Deps {
		all = append(all, component(used(m).Path, used(m).Version))
	}
	return all
}

// used returns the module that m is replaced by, if it is.
func used(m *debug.Module) *debug.Module {
	if m.Replace != nil {
		return m.Replace
	}
	return m
}

// component describes the Go module at path.
func component(path, version string) *spdx.Package {
	location := "NOASSERTION"
	if escaped, err := module.EscapePath(path); err == nil && strings.Contains(path, "/") {
		location = "https://proxy.golang.org/" + escaped + "/@v/" + version + ".zip"
	}
	namespace, name := slashpath.Split(strings.ToLower(path)) // as the specification of purls has it
	purl := packageurl.NewPackageURL(packageurl.TypeGolang, strings.TrimSuffix(namespace, "/"), name, version, nil, "")
	return &spdx.Package{
		PackageName:             path,
		PackageSPDXIdentifier:   spdx.ElementID("Package-" + identifier(path)),
		PackageVersion:          version,
		PackageDownloadLocation: location,
		PackageExternalReferences: []*spdx.PackageExternalReference{
			{Category: spdx.CategoryPackageManager, RefType: spdx.PackageManagerPURL, Locator: purl.ToString()},
		},
	}
}

// identifier returns s with what an identifier of SPDX may not have replaced.
func identifier(s string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.", c) {
			return c
		}
		return '-'
	}, s)
}

func relation(from spdx.ElementID, kind string, to spdx.ElementID) *spdx.Relationship {
	return &spdx.Relationship{
		RefA:         common.MakeDocElementID("", string(from)),
		RefB:         common.MakeDocElementID("", string(to)),
		Relationship: kind,
	}
}
