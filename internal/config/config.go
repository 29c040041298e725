// Package config turns a YAML file, the environment and flags into one
// validated Config. One table of settings gives all three their names, and the
// documentation its text.
package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mirrord/internal/tagrule"
)

// Config is a complete, valid configuration. Only Load and LoadFile make one.
type Config struct {
	Listen string // host:port of the registry
	Admin  struct {
		Listen string // host:port of metrics and health
	}
	Cache struct {
		Dir      string
		Chosen   bool          // Dir is not the default
		MaxSize  Size          // of all blobs together; more than 0
		MinFree  Size          // of the file system, kept free; 0: no floor
		MaxFills int           // blobs; 1 or more
		Scrub    time.Duration // 0: off
	}
	Clients struct {
		MaxRequests int // under way at once, for each; 0: no limit
	}
	Tags struct {
		Fresh                time.Duration // 0: ask the upstream every time
		Rules                tagrule.Rules // the first that matches wins over Fresh
		StaleWhileRevalidate time.Duration // 0: off
		MaxStale             time.Duration // 0: never stale
		MaxSilence           time.Duration // 0: any
	}
	Quota struct {
		Reserve   Share         // of the limit; 0: none
		Probe     time.Duration // 0: off
		PerClient int           // 0: no limit
	}
	Upstreams []Upstream // at least one, names unique
	Log       struct {
		Level  string // debug, info, warn or error
		Format string // json or console
	}
}

// Load applies the defaults, the file that --config or MIRRORD_CONFIG names,
// the environment and the flags, each over the ones before it. fs has been
// through AddFlags; environ is what os.Environ returns. An empty variable
// counts as not set; a list replaces that of an earlier source as a whole.
// A failure is an *Error with every problem of all sources.
func Load(fs *pflag.FlagSet, environ []string) (*Config, error) {
	l := newLoader(lookup(environ, cacheDirectoryEnv))
	path := lookup(environ, configEnv)
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

// LoadFile applies the file at path over the defaults, and nothing else.
// A failure is an *Error with every problem of the file.
func LoadFile(path string) (*Config, error) {
	l := newLoader(os.Getenv(cacheDirectoryEnv))
	l.file(path)
	return l.finish()
}

// lookup returns the value of the variable name, empty when it is not set.
func lookup(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// loader gathers a Config and what is wrong with it, source by source.
type loader struct {
	config   *Config
	from     map[string]place // by setting: where it was written last
	problems []string
}

// cacheDirectoryEnv is set by systemd for a unit with CacheDirectory=: one
// path or several, separated by colons.
const cacheDirectoryEnv = "CACHE_DIRECTORY"

// newLoader starts from the defaults. Without a home there is no default for
// cache.dir: it stays empty, and finish asks for it.
func newLoader(cacheDirectory string) *loader {
	l := &loader{config: new(Config), from: make(map[string]place)}
	for _, s := range settings {
		if s.key != cacheDirKey {
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

// set gives s the value v.
func (l *loader) set(s *setting, v value) {
	l.from[s.key] = v.where()
	s.read(l, l.config, v)
}

// finish checks what concerns several fields and returns the result.
func (l *loader) finish() (*Config, error) {
	c := l.config
	_, c.Cache.Chosen = l.from[cacheDirKey]
	if c.Cache.Dir == "" && !c.Cache.Chosen {
		l.problem(place{name: cacheDirKey}, "has no default, because there is neither $%s nor a home directory; set it", cacheDirectoryEnv)
	}
	if _, port, _ := net.SplitHostPort(c.Listen); c.Listen == c.Admin.Listen && strings.Trim(port, "0") != "" {
		at, ok := l.from["admin.listen"]
		if !ok {
			at = l.from["listen"]
		}
		l.problem(at, "%s is the address of both listen and admin.listen; give each its own", c.Listen)
	}
	if len(l.problems) > 0 {
		return nil, &Error{Problems: l.problems}
	}
	return c, nil
}
