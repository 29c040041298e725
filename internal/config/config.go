// Package config reads a YAML file, the environment and flags into one validated
// Config. One table of settings defines their names in all three, and their
// documentation.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mirrord/internal/tagrule"
)

// Config is a complete, valid configuration. Only Load and LoadFile create one.
type Config struct {
	Listen    string     // host:port of the registry; empty: only Listeners are served
	ListenSet bool       // Listen is not the default
	Listeners []Listener // beside Listen
	Admin     struct {
		Listen    string // host:port, or unix: and the path of a socket
		ListenSet bool   // Listen is not the default
		Socket    string // path, or NoSocket; empty: the default
		TokenFile string // empty: the mirror makes a token
	}
	Metrics struct {
		Listen string // host:port; empty: metrics are served at Admin.Listen only
	}
	Cache struct {
		Dir       string
		DirSet    bool          // Dir is not the default
		MaxSize   Size          // of all blobs together; more than 0
		MinFree   Size          // of the file system, left free; 0: none
		MaxPinned Part          // of MaxSize
		MaxFills  int           // blobs; 1 or more
		Scrub     time.Duration // 0: off
	}
	Clients struct {
		MaxRequests       int  // in flight, for each client; 0: no limit
		RequestsPerSecond int  // for each client; 0: no limit
		MaxConnections    int  // open, for each address; 0: no limit
		Bandwidth         Size // bytes a second to each client; 0: no limit
		TotalBandwidth    Size // bytes a second to all clients together; 0: no limit
		Catalog           bool // is served

		Allow          []string // CIDRs; empty: all but those of Deny
		Deny           []string // CIDRs
		TrustedProxies []string // CIDRs, from which a request may name the client that it is for
	}
	Tags struct {
		Fresh                time.Duration // 0: check with the upstream every time
		Rules                tagrule.Rules // the first match overrides Fresh
		StaleWhileRevalidate time.Duration // 0: off
		MaxStale             time.Duration // 0: never stale
		MaxSilence           time.Duration // 0: no limit
	}
	Quota struct {
		Reserve   Share         // of the limit; 0: none
		Probe     time.Duration // 0: off
		PerClient int           // 0: no limit
	}
	Access struct {
		Private  string       // deny, rules or allow
		Rules    []AccessRule // the first match decides
		AuditLog string       // file, or stderr; empty: none
	}
	Status struct {
		Clients bool // are remembered, and shown
	}
	Warm struct {
		Lists []WarmList // names unique
	}
	Notify    []Webhook
	Offline   bool // nothing is asked of the upstreams
	Fleet     Fleet
	Upstreams []Upstream // at least one, names unique
	Log       struct {
		Level  string // debug, info, warn or error
		Format string // json, console or AutoFormat

		Access       string // off, errors or all
		AccessSample int    // one of so many requests that are not errors is logged; 1 or more
	}
}

// Load applies the defaults, the file that --config or MIRRORD_CONFIG names, or else
// mirrord.yaml in $CONFIGURATION_DIRECTORY if there is one, the environment and the flags;
// each overrides the ones before it. fs is a parsed flag set of AddFlags; environ is the
// result of os.Environ. An empty variable counts as unset; a list replaces the whole list
// of an earlier source. Load fails with an *Error that has every problem of all sources.
func Load(fs *pflag.FlagSet, environ []string) (*Config, error) {
	l := newLoader(lookup(environ, cacheDirectoryEnv))
	path := File(environ)
	if flag := fs.Lookup(configFlag); flag.Changed {
		path = flag.Value.String()
		if path == "" {
			l.problem(place{name: "--" + configFlag}, "is empty; name a file or leave the flag out")
		}
	}
	if path != "" {
		l.file(path)
	}
	l.environment(environ)
	l.flags(fs)
	return l.finish()
}

// LoadFile applies only the file at path over the defaults. It fails with an *Error
// that has every problem of the file.
func LoadFile(path string) (*Config, error) {
	l := newLoader(os.Getenv(cacheDirectoryEnv))
	l.file(path)
	return l.finish()
}

// File returns the path of the file that Load reads without --config, empty when there is
// none.
func File(environ []string) string {
	if path := lookup(environ, configEnv); path != "" {
		return path
	}
	return unitFile(environ)
}

// unitFile returns the path of the file that a unit has without naming it, empty when
// there is none.
func unitFile(environ []string) string {
	dir, _, _ := strings.Cut(lookup(environ, configurationDirectoryEnv), ":")
	path := filepath.Join(dir, "mirrord.yaml")
	if _, err := os.Stat(path); dir == "" || errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return path
}

// lookup returns the value of the variable name, empty when it is unset.
func lookup(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// loader collects a Config and its problems, source by source.
type loader struct {
	config   *Config
	origins  map[string]place // by setting: where its value was written
	problems []string
}

// Variables that systemd sets for a unit with CacheDirectory= and
// ConfigurationDirectory=: one path or several, separated by colons.
const (
	cacheDirectoryEnv         = "CACHE_DIRECTORY"
	configurationDirectoryEnv = "CONFIGURATION_DIRECTORY"
)

// newLoader returns a loader with the defaults. Without a home directory there is no
// default for cache.dir: it stays empty, and finish reports it.
func newLoader(cacheDirectory string) *loader {
	l := &loader{config: new(Config), origins: make(map[string]place)}
	for _, s := range settings {
		if s.fallback != "" && s.key != cacheDirKey && s.key != adminSocketKey { // those two depend on the process
			s.read(l, l.config, l.variable(place{name: "default of " + s.key}, s.fallback))
		}
	}
	if len(l.problems) > 0 {
		panic(strings.Join(l.problems, "\n"))
	}
	if dir, _, _ := strings.Cut(cacheDirectory, ":"); dir != "" {
		l.config.Cache.Dir = dir
	} else if dir, err := os.UserCacheDir(); err == nil {
		l.config.Cache.Dir = filepath.Join(dir, "mirrord")
	}
	return l
}

func (l *loader) problem(at place, format string, args ...any) {
	l.problems = append(l.problems, at.String()+": "+fmt.Sprintf(format, args...))
}

// set sets the setting s to v.
func (l *loader) set(s *setting, v value) {
	l.origins[s.key] = v.where()
	s.read(l, l.config, v)
}

// finish validates across settings and returns the result.
func (l *loader) finish() (*Config, error) {
	c := l.config
	_, c.Cache.DirSet = l.origins[cacheDirKey]
	_, c.ListenSet = l.origins[listenKey]
	_, c.Admin.ListenSet = l.origins[adminListenKey]
	if c.Cache.Dir == "" && !c.Cache.DirSet {
		l.problem(place{name: cacheDirKey}, "has no default, because there is neither $%s nor a home directory; set it", cacheDirectoryEnv)
	}
	c.addKnownAliases()
	l.addKnownFreshness()
	l.finishListeners()
	l.finishAccess()
	l.finishFleet()
	if len(l.problems) > 0 {
		return nil, &Error{Problems: l.problems}
	}
	return c, nil
}
