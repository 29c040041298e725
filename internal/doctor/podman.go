package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const registriesConf = "/etc/containers/registries.conf"

// registries is containers-registries.conf(5), as far as it is about mirrors.
type registries struct {
	Registry []struct {
		Prefix   string          `toml:"prefix"`
		Location string          `toml:"location"`
		Mirror   []mirrorOfOther `toml:"mirror"`
	} `toml:"registry"`
}

type mirrorOfOther struct {
	Location string `toml:"location"`
	Insecure bool   `toml:"insecure"`
}

// podman checks the mirrors of podman, skopeo, buildah and CRI-O, which read the same files.
func (h host) podman() Check {
	const what = "podman on this host"
	var named []string
	const dropIns = registriesConf + ".d/*.conf"
	files, unlisted := h.glob(dropIns)
	for _, file := range append([]string{registriesConf}, files...) {
		raw, absent, err := h.read(file)
		if absent != "" {
			continue
		}
		var c registries
		if err == nil {
			err = parseTOML(raw, &c)
		}
		if err != nil {
			return invalid(what, file, err, "correct it: podman, skopeo, buildah and CRI-O pull nothing with it")
		}
		for _, r := range c.Registry {
			prefix := cmp.Or(r.Prefix, r.Location)
			for _, m := range r.Mirror {
				found, problem := h.podmanMirror(prefix, m)
				if problem != nil {
					return Check{what, Warn, file + ": " + problem.Detail, problem.Hint}
				}
				if found {
					named = append(named, prefix)
				}
			}
		}
	}
	if unlisted != nil {
		return invalid(what, dropIns, unlisted, "")
	}
	if len(named) == 0 {
		return notConfigured(what, "podman", "no mirror in "+registriesConf+" and "+registriesConf+".d is this one")
	}
	return Check{what, OK, "registries.conf names this mirror for " + strings.Join(named, ", "), ""}
}

// podmanMirror reports whether m, a mirror of what begins with prefix, is this one, or what
// is wrong with it.
func (h host) podmanMirror(prefix string, m mirrorOfOther) (found bool, problem *Check) {
	scheme, rest, hasScheme := strings.Cut(m.Location, "://")
	if !hasScheme {
		scheme, rest = "https", m.Location
	}
	address, path, _ := strings.Cut(rest, "/")
	l, ok := h.find(address, scheme)
	if !ok {
		return false, nil
	}
	detail, hint := h.wrongPath(prefix, address, strings.TrimSuffix(path, "/"), l)
	upstream, _, _ := strings.Cut(prefix, "/")
	switch {
	case hasScheme:
		return false, &Check{Detail: "the location " + shown(m.Location) + " has a scheme", Hint: "write it as HOST:PORT/" + upstream + ", and insecure = true below it for plain HTTP"}
	case !l.TLS && !m.Insecure:
		return false, &Check{Detail: "the mirror at " + shown(m.Location) + " speaks plain HTTP, and insecure = true is missing", Hint: "write insecure = true below its location"}
	case detail != "":
		return false, &Check{Detail: "the mirror of " + shown(prefix) + " at " + shown(m.Location) + " " + detail, Hint: hint}
	}
	return true, nil
}

// wrongPath says what is wrong with path, after the address of l in the location of a mirror,
// or nothing. podman writes the location in the place of the prefix.
func (h host) wrongPath(prefix, address, path string, l Listener) (detail, hint string) {
	name, wanted, _ := strings.Cut(prefix, "/")
	upstream, has := h.served.upstream(name)
	first, repositories, _ := strings.Cut(path, "/")
	serves, named := h.served.upstream(first)
	if !named {
		serves, repositories = h.served.byDefault(l), path
	}
	write := "write its location as " + address + "/" + prefix
	switch {
	case !has && named: // a name of its own for that upstream
		return "", ""
	case !has:
		return "is of an upstream that this mirror does not have", "remove that mirror, or add " + name + " to the upstreams of mirrord"
	case l.Upstream != "" && l.Upstream != upstream:
		return "is at the listener of " + l.Upstream, "write the address of a listener for " + upstream
	case serves != upstream:
		return "serves " + serves, write
	case repositories != wanted:
		return fmt.Sprintf("serves %.200q in the place of %.200q", upstream+"/"+repositories, prefix), write
	}
	return "", ""
}

// glob returns the files on this host that pattern matches, or pattern itself when it is the
// name of one file. It fails with fs.ErrPermission when this user may not list its directory.
func (h host) glob(pattern string) (files []string, err error) {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return []string{pattern}, nil
	}
	if _, err := os.ReadDir(h.path(filepath.Dir(pattern))); errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	found, _ := filepath.Glob(h.path(pattern)) // a wrong pattern matches nothing
	for _, file := range found {
		files = append(files, filepath.Join("/", strings.TrimPrefix(file, filepath.Clean(h.root))))
	}
	return files, nil
}
