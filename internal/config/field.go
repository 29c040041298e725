package config

import (
	"fmt"
	"slices"
	"strings"
)

// field is one setting: a row of the table that names it everywhere.
type field struct {
	key         string // in the file; a dot is one level of nesting
	placeholder string // what a flag's help shows for the value
	fallback    string // the default as documentation shows it; parsed, but for cache.dir and upstreams
	help        string

	parse func(*Config, string) error // nil: a list of upstreams
	text  func(*Config) string        // what parse would read back
}

const (
	cacheDirKey  = "cache.dir"
	upstreamsKey = "upstreams"
)

// fields are all settings; those of one group stand together.
var fields = []field{
	scalar("listen", "ADDRESS", "127.0.0.1:5000", "where clients find the registry, as host:port",
		parseAddress, func(c *Config) *string { return &c.Listen }),
	scalar("admin.listen", "ADDRESS", "127.0.0.1:5001", "where metrics and health are served, as host:port",
		parseAddress, func(c *Config) *string { return &c.Admin.Listen }),
	scalar(cacheDirKey, "DIR", "$CACHE_DIRECTORY, else mirrord in the user's cache directory", "the directory that holds the cache",
		parseText, func(c *Config) *string { return &c.Cache.Dir }),
	scalar("cache.max_size", "SIZE", "50GiB", "how much the cache may hold before it forgets what was used least recently",
		parseMaxSize, func(c *Config) *Size { return &c.Cache.MaxSize }),
	scalar("cache.min_free", "SIZE", "2GiB", "how much of the cache's file system stays free",
		parseSize, func(c *Config) *Size { return &c.Cache.MinFree }),
	scalar("tags.fresh", "DURATION", "1m", "how long a tag is served before the upstream is asked again; 0 asks every time",
		parseDuration, func(c *Config) *duration { return (*duration)(&c.Tags.Fresh) }),
	{key: upstreamsKey, placeholder: "UPSTREAM", fallback: "name=docker.io,url=https://registry-1.docker.io",
		help: "the registries to mirror, each as name=HOST,url=URL and perhaps username=USER,password-file=FILE; repeat the flag, separate with spaces in the environment"},
	scalar("log.level", "LEVEL", "info", "the least severe messages to log: debug, info, warn or error",
		oneOf("debug", "info", "warn", "error"), func(c *Config) *string { return &c.Log.Level }),
	scalar("log.format", "FORMAT", "json", "how log messages look: json or console",
		oneOf("json", "console"), func(c *Config) *string { return &c.Log.Format }),
}

// scalar is a field of one value, kept where at points.
func scalar[T any](key, placeholder, fallback, help string, parse func(string) (T, error), at func(*Config) *T) field {
	return field{
		key: key, placeholder: placeholder, fallback: fallback, help: help,
		parse: func(c *Config, s string) error {
			v, err := parse(s)
			if err == nil {
				*at(c) = v
			}
			return err
		},
		text: func(c *Config) string { return fmt.Sprint(*at(c)) },
	}
}

// fieldByKey returns the field of that key, or nil.
func fieldByKey(key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	return nil
}

// keysBelow are the keys that the mapping of that name may have, in the order
// of the table; the whole file has no name.
func keysBelow(name string) []string {
	var keys []string
	for _, f := range fields {
		below := f.key
		if name != "" {
			var ok bool
			if below, ok = strings.CutPrefix(f.key, name+"."); !ok {
				continue
			}
		}
		key, _, _ := strings.Cut(below, ".")
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// flag is f's flag without dashes in front: cache.max_size is cache-max-size.
// One flag is one upstream, so the list's flag is singular.
func (f *field) flag() string {
	if f.key == upstreamsKey {
		return "upstream"
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(f.key)
}

// env is f's variable: cache.max_size is MIRRORD_CACHE_MAX_SIZE.
func (f *field) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(f.key, ".", "_"))
}

// Table is the reference of all settings in Markdown: a header, a rule and one
// row a field.
func Table() string {
	var b strings.Builder
	b.WriteString("| key | flag | environment | default | meaning |\n|---|---|---|---|---|\n")
	for _, f := range fields {
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | `%s` | %s |\n", f.key, f.flag(), f.env(), f.fallback, f.help)
	}
	return b.String()
}
