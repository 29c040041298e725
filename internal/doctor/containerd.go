package doctor

import (
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

const (
	containerdConfig = "/etc/containerd/config.toml"
	containerdHosts  = "/etc/containerd/certs.d"
)

// containerd checks the host files of containerd, and whether it reads them.
func (h host) containerd() Check {
	const what = "containerd on this host"
	config, file, err := h.readConfig()
	if err != nil {
		return invalid(what, file, err, "correct it: containerd does not start with it")
	}
	var named []string
	for _, dir := range config.dirs {
		for _, upstream := range append(slices.Clone(h.served.Upstreams), "_default") {
			file := filepath.Join(dir, upstream, "hosts.toml")
			found, problem := h.hostsFile(what, file, upstream)
			if problem != nil {
				return *problem
			}
			if found {
				named = append(named, upstream)
			}
		}
	}
	const setting = `config_path = "` + containerdHosts + `"`
	switch {
	case len(named) == 0:
		return notConfigured(what, "containerd", "no hosts.toml below "+strings.Join(config.dirs, " and ")+" names this mirror")
	case config.from == "":
		return Check{what, Warn, containerdHosts + " names this mirror, and " + containerdConfig + " has no config_path: Kubernetes pulls past the mirror with containerd before 2.2; nerdctl does not",
			"write " + setting + ` under [plugins."io.containerd.cri.v1.images".registry], for containerd 1.x under [plugins."io.containerd.grpc.v1.cri".registry], and restart containerd`}
	case config.hidden != "":
		return Check{what, Info, "hosts.toml names this mirror for " + strings.Join(named, ", ") + "; the config_path of " + config.from + " has no effect before containerd 2.1, because " + config.hidden + " has the same section without it",
			"with an older containerd write " + setting + " in " + config.hidden + " too, and restart containerd"}
	}
	return Check{what, OK, "hosts.toml names this mirror for " + strings.Join(named, ", "), ""}
}

// hostsFile reports whether the host file of an upstream names the mirror, or what is wrong
// with it.
func (h host) hostsFile(what, file, upstream string) (found bool, problem *Check) {
	raw, absent, err := h.read(file)
	if absent != "" {
		return false, nil
	}
	var hosts struct {
		Server string         `toml:"server"`
		Host   map[string]any `toml:"host"`
	}
	if err == nil {
		err = parseTOML(raw, &hosts)
	}
	if err != nil {
		problem := invalid(what, file, err, "correct it: pulls from that registry fail")
		return false, &problem
	}
	for _, name := range append(slices.Sorted(maps.Keys(hosts.Host)), hosts.Server) {
		if !strings.Contains(name, "://") {
			name = "https://" + name
		}
		u, err := url.Parse(name)
		if err != nil {
			continue
		}
		l, ok := h.find(u.Host, u.Scheme)
		if !ok {
			continue
		}
		if detail, hint := h.wrongHost(u, l, upstream); detail != "" {
			return false, &Check{what, Warn, file + ": " + detail, hint + " in that file; containerd reads it at each pull"}
		}
		found = true
	}
	return found, nil
}

// wrongHost says what is wrong with a URL that leads to l, in the host file of an upstream, or
// nothing.
func (h host) wrongHost(u *url.URL, l Listener, upstream string) (detail, hint string) {
	if detail, hint := wrongScheme(u, l); detail != "" {
		return detail, hint
	}
	path, wanted := "/"+upstream, upstream
	if upstream == "_default" {
		path, wanted = "nothing", "all upstreams"
	}
	if l.Upstream != "" && l.Upstream != upstream {
		return shown(u.String()) + " is the listener of " + l.Upstream + ": the mirror refuses to serve other registries there, and containerd pulls past it",
			"write the address of a listener for " + wanted
	}
	if other := h.otherUpstream(u.Path, upstream); other != "" {
		return shown(u.String()) + " has the path of " + other + ": the mirror refuses to serve other registries there, and containerd pulls past it",
			"write " + path + " after the port"
	}
	return "", ""
}

// otherUpstream returns the upstream that a path in the host file of one names, if that is
// another.
func (h host) otherUpstream(path, upstream string) string {
	path = strings.TrimPrefix(strings.Trim(path, "/"), "v2/")
	first, _, _ := strings.Cut(path, "/")
	if named, ok := h.served.upstream(first); ok && named != upstream {
		return named
	}
	return ""
}

// criConfig is what of containerd's configuration is about host files.
type criConfig struct {
	dirs   []string // of host files
	from   string   // the file that says so; empty: none does
	hidden string   // a later file that has the same section without config_path; empty: none
}

// maxImports is how many files of a configuration are read.
const maxImports = 100

// readConfig reads the configuration of containerd as that does: a file overrides those
// before it, its own imports come after all that are known by then, and none is read twice.
// It returns the file with an error.
func (h host) readConfig() (config criConfig, wrong string, err error) {
	config.dirs = []string{containerdHosts}
	read := make(map[string]bool)
	section := "" // that has config_path
	for pending := []string{containerdConfig}; len(pending) > 0 && len(read) < maxImports; {
		path := pending[0]
		pending = pending[1:]
		if read[path] {
			continue
		}
		read[path] = true
		raw, absent, err := h.read(path)
		if absent != "" {
			continue
		}
		var file configFile
		if err == nil {
			err = parseTOML(raw, &file)
		}
		if err != nil {
			return config, path, err
		}
		if in, dirs := file.configPath(); dirs != "" {
			config, section = criConfig{dirs: filepath.SplitList(dirs), from: path}, in
		} else if _, has := file.Plugins[section]; has {
			config.hidden = path
		}
		imported, wrong, err := h.imports(path, file.Imports)
		if err != nil {
			return config, wrong, err
		}
		pending = append(pending, imported...)
	}
	return config, "", nil
}

// configFile is one file of containerd's configuration.
type configFile struct {
	Version int                       `toml:"version"`
	Imports []string                  `toml:"imports"`
	Plugins map[string]map[string]any `toml:"plugins"`
}

// configPath returns the config_path of a file, and the section that has it: since version 3
// of the format that is another, and containerd 2 reads the older ones of older files only.
func (f configFile) configPath() (section, dirs string) {
	sections := []string{"io.containerd.cri.v1.images"}
	if f.Version < 3 {
		sections = []string{"io.containerd.grpc.v1.cri", "cri", "io.containerd.cri.v1.images"}
	}
	for _, section := range sections {
		registry, _ := f.Plugins[section]["registry"].(map[string]any)
		if dirs, _ := registry["config_path"].(string); dirs != "" {
			return section, dirs
		}
	}
	return "", ""
}

// imports returns the files that patterns in a file of containerd's configuration match. It
// returns the pattern with an error.
func (h host) imports(parent string, patterns []string) (files []string, wrong string, err error) {
	for _, pattern := range patterns {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(parent), pattern)
		}
		pattern = filepath.Clean(pattern)
		found, err := h.glob(pattern)
		if err != nil {
			return nil, pattern, err
		}
		files = append(files, found...)
	}
	return files, "", nil
}
