package doctor

import (
	"fmt"
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
	dirs, configured, err := h.configPath()
	if err != nil {
		return Check{what, Warn, err.Error(), "correct it: containerd does not start with it"}
	}
	var named []string
	for _, dir := range dirs {
		for _, upstream := range append(slices.Clone(h.served.Upstreams), "_default") {
			file := filepath.Join(dir, upstream, "hosts.toml")
			found, problem := h.hostsFile(what, file)
			if problem != nil {
				return *problem
			}
			if found {
				named = append(named, upstream)
			}
		}
	}
	switch {
	case len(named) == 0:
		return notConfigured(what, "containerd", "no hosts.toml below "+strings.Join(dirs, " and ")+" names this mirror")
	case !configured:
		return Check{what, Warn, containerdHosts + " names this mirror, and " + containerdConfig + " has no config_path, without which Kubernetes pulls past it; nerdctl does not",
			`write config_path = "` + containerdHosts + `" under [plugins."io.containerd.cri.v1.images".registry], for containerd 1.x under [plugins."io.containerd.grpc.v1.cri".registry], and restart containerd`}
	}
	return Check{what, OK, "hosts.toml names this mirror for " + strings.Join(named, ", "), ""}
}

// hostsFile reports whether a host file names the mirror, or what is wrong with it.
func (h host) hostsFile(what, file string) (found bool, problem *Check) {
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
		return false, &Check{what, Warn, fmt.Sprintf("%s is invalid: %v", file, err), "correct it: pulls from that registry fail"}
	}
	all := []string{hosts.Server}
	for name := range hosts.Host {
		all = append(all, name)
	}
	for _, name := range all {
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
		if detail, hint := wrongScheme(u, l); detail != "" {
			return false, &Check{what, Warn, file + ": " + detail, hint + " in that file; containerd reads it at each pull"}
		}
		found = true
	}
	return found, nil
}

// configPath returns the directories of host files, and whether the configuration of
// containerd names any.
func (h host) configPath() (dirs []string, configured bool, err error) {
	paths := []string{containerdConfig}
	for len(paths) > 0 {
		path := paths[0]
		paths = paths[1:]
		raw, absent, err := h.read(path)
		if absent != "" {
			continue
		}
		var c struct {
			Imports []string                  `toml:"imports"`
			Plugins map[string]map[string]any `toml:"plugins"`
		}
		if err == nil {
			err = parseTOML(raw, &c)
		}
		if err != nil {
			return nil, false, fmt.Errorf("%s is invalid: %w", path, err)
		}
		for _, plugin := range c.Plugins {
			if registry, ok := plugin["registry"].(map[string]any); ok {
				if value, ok := registry["config_path"].(string); ok && value != "" {
					return filepath.SplitList(value), true, nil
				}
			}
		}
		if path == containerdConfig {
			paths = append(paths, h.imports(c.Imports)...)
		}
	}
	return []string{containerdHosts}, false, nil
}

// imports returns the files that patterns of containerd's configuration match.
func (h host) imports(patterns []string) (files []string) {
	for _, pattern := range patterns {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(containerdConfig), pattern)
		}
		files = append(files, h.glob(pattern)...)
	}
	return files
}
