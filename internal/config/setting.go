package config

import (
	"fmt"
	"slices"
	"strings"
)

// setting is a field of the configuration with all else that a source and the
// documentation need.
type setting struct {
	field[Config]
	placeholder string // what a flag's help shows for the value
	fallback    string // the default, as a variable would have it; only cache.dir has words
	help        string
}

const cacheDirKey = "cache.dir"

// settings are all of them; those of one group stand together.
var settings = []setting{
	{scalar("listen", parseAddress, func(c *Config) *string { return &c.Listen }),
		"ADDRESS", "127.0.0.1:5000", "where clients find the registry, as host:port"},
	{scalar("admin.listen", parseAddress, func(c *Config) *string { return &c.Admin.Listen }),
		"ADDRESS", "127.0.0.1:5001", "where metrics and health are served, as host:port"},
	{scalar(cacheDirKey, parsePath, func(c *Config) *string { return &c.Cache.Dir }),
		"DIR", "$CACHE_DIRECTORY, else mirrord in the user's cache directory", "the directory that holds the cache"},
	{scalar("cache.max_size", parseMaxSize, func(c *Config) *Size { return &c.Cache.MaxSize }),
		"SIZE", "50GiB", "how much the cache may hold before it forgets what was used least recently"},
	{scalar("cache.min_free", parseSize, func(c *Config) *Size { return &c.Cache.MinFree }),
		"SIZE", "2GiB", "how much of the cache's file system stays free"},
	{scalar("cache.max_fills", parseFills, func(c *Config) *int { return &c.Cache.MaxFills }),
		"DOWNLOADS", "32", "how many blobs are fetched into the cache at once; more wait for their turn"},
	{scalar("cache.scrub", parseScrub, func(c *Config) *duration { return (*duration)(&c.Cache.Scrub) }),
		"DURATION", "168h", "the time in which all that is kept is read once to find what the disk has damaged, 1h or more; 0 never looks"},
	{scalar("clients.max_requests", count("requests"), func(c *Config) *int { return &c.Clients.MaxRequests }),
		"REQUESTS", "256", "how many requests one client may have under way at once; 0 is no limit"},
	{scalar("tags.fresh", parseDuration, func(c *Config) *duration { return (*duration)(&c.Tags.Fresh) }),
		"DURATION", "1m", "how long a tag, or a list of tags or referrers, is served before the upstream is asked again; 0 asks every time"},
	{listOf("tags.rules", rules, getRules, setRules),
		"RULE", "", "tags with a freshness of their own, each as match=PATTERN,fresh=DURATION; the first that matches counts; repeat the flag, separate with spaces in the environment"},
	{scalar("tags.stale_while_revalidate", parseDuration, func(c *Config) *duration { return (*duration)(&c.Tags.StaleWhileRevalidate) }),
		"DURATION", "0s", "how long a tag that is no longer fresh is served at once while the upstream is asked; 0 waits for the upstream"},
	{scalar("tags.max_stale", parseDuration, func(c *Config) *duration { return (*duration)(&c.Tags.MaxStale) }),
		"DURATION", "720h", "how long after the upstream confirmed it a tag or list is served when the upstream does not answer; 0 never does"},
	{scalar("tags.max_silence", parseDuration, func(c *Config) *duration { return (*duration)(&c.Tags.MaxSilence) }),
		"DURATION", "1.5s", "how long the upstream may be silent before the older copy of a tag or list is served; one that is at work, but slow, is waited for up to 10s; 0 waits until it fails"},
	{scalar("quota.reserve", parseShare, func(c *Config) *Share { return &c.Quota.Reserve }),
		"SHARE", "10%", "what is kept back of an upstream's pull limit, as a percentage or a number of pulls; 0 keeps nothing"},
	{scalar("quota.probe", parseProbe, func(c *Config) *duration { return (*duration)(&c.Quota.Probe) }),
		"DURATION", "15m", "how often an upstream is asked what is left of its pull limit, 1m or more; 0 never asks"},
	{scalar("quota.per_client", count("pulls"), func(c *Config) *int { return &c.Quota.PerClient }),
		"PULLS", "0", "how many pulls from the upstreams one client may cause in six hours; 0 is no limit"},
	{listOf("upstreams", upstreams, getUpstreams, setUpstreams),
		"UPSTREAM", "name=docker.io,url=https://registry-1.docker.io", "the registries to mirror, each as name=HOST,url=URL and perhaps username=USER,password-file=FILE; more credentials need the file; repeat the flag, separate with spaces in the environment"},
	{scalar("log.level", oneOf("debug", "info", "warn", "error"), func(c *Config) *string { return &c.Log.Level }),
		"LEVEL", "info", "the least severe messages to log: debug, info, warn or error"},
	{scalar("log.format", oneOf("json", "console"), func(c *Config) *string { return &c.Log.Format }),
		"FORMAT", "json", "how log messages look: json or console"},
}

// settingByKey returns the setting of that key, or nil.
func settingByKey(key string) *setting {
	for i := range settings {
		if settings[i].key == key {
			return &settings[i]
		}
	}
	return nil
}

// keysBelow are the keys that the mapping of that name may have, in the order
// of the table; the whole file has no name.
func keysBelow(name string) []string {
	var keys []string
	for _, s := range settings {
		below := s.key
		if name != "" {
			var ok bool
			if below, ok = strings.CutPrefix(s.key, name+"."); !ok {
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

// flag is s's flag without dashes in front: cache.max_size is cache-max-size.
// One flag is one entry of a list, so a list's flag is singular.
func (s *setting) flag() string {
	name := strings.NewReplacer(".", "-", "_", "-").Replace(s.key)
	if s.list {
		return strings.TrimSuffix(name, "s")
	}
	return name
}

// env is s's variable: cache.max_size is MIRRORD_CACHE_MAX_SIZE.
func (s *setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// standard is the default as documentation shows it.
func (s *setting) standard() string {
	if s.fallback == "" {
		return "none"
	}
	return s.fallback
}

// Table is the reference of all settings in Markdown: a header, a rule and one
// row a setting.
func Table() string {
	var b strings.Builder
	b.WriteString("| key | flag | environment | default | meaning |\n|---|---|---|---|---|\n")
	for _, s := range settings {
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | `%s` | %s |\n", s.key, s.flag(), s.env(), s.standard(), s.help)
	}
	return b.String()
}
