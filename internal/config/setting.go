package config

import (
	"fmt"
	"slices"
	"strings"
)

// setting is a field of the configuration with all that the sources and the
// documentation need.
type setting struct {
	field[Config]
	placeholder string // for the value, in the help of the flag
	fallback    string // the default, as in a variable; for cache.dir a description
	help        string
}

const (
	cacheDirKey    = "cache.dir"
	adminSocketKey = "admin.socket"
	offlineKey     = "offline"
	tagsFreshKey   = "tags.fresh"
)

// listHelp is in the help of each list, for those who do not write it in a file.
const listHelp = "; repeat the flag, or separate entries with spaces in the environment"

// settings has all settings; those of a group are adjacent.
var settings = []setting{
	{scalar(listenKey, parseAddress, func(c *Config) *string { return &c.Listen }),
		"ADDRESS", "127.0.0.1:5000", "address that serves the registry to clients, as host:port"},
	{listOf(listenersKey, listeners, func(c *Config) []Listener { return c.Listeners }, func(c *Config, all []Listener) { c.Listeners = all }),
		"LISTENER", "", "further addresses that serve the registry, each as address=HOST:PORT and optionally upstream=NAME for one that serves only that upstream; one with TLS or ACME needs the file; without listen, they replace its default" + listHelp},
	{scalar(adminListenKey, parseAdminAddress, func(c *Config) *string { return &c.Admin.Listen }),
		"ADDRESS", "127.0.0.1:5001", "address that serves the mirror's commands, profiles, metrics and health checks, as host:port, or as unix:/PATH for a socket of the mirror's user"},
	{scalar(adminSocketKey, parseSocket, func(c *Config) *string { return &c.Admin.Socket }),
		"PATH", "admin.sock in $RUNTIME_DIRECTORY, else in cache.dir", "unix socket that serves the same as admin.listen to the mirror's user and group, without a token; off for none"},
	{scalar("admin.token_file", parseOptional(parsePath), func(c *Config) *string { return &c.Admin.TokenFile }),
		"FILE", "", "file with the token for what changes the mirror's state and for profiles; without one the mirror makes admin-token in cache.dir; a unix socket needs none"},
	{scalar(metricsListenKey, parseOptional(parseAddress), func(c *Config) *string { return &c.Metrics.Listen }),
		"ADDRESS", "", "further address that serves metrics and health checks and nothing else, as host:port, for a Prometheus on another host"},
	{scalar(cacheDirKey, parsePath, func(c *Config) *string { return &c.Cache.Dir }),
		"DIR", "$CACHE_DIRECTORY, else mirrord in the user's cache directory", "the directory that holds the cache"},
	{scalar("cache.max_size", parseMaxSize, func(c *Config) *Size { return &c.Cache.MaxSize }),
		"SIZE", "50GiB", "maximum size of the cache, beyond which the least recently used content is evicted"},
	{scalar("cache.min_free", parseSize, func(c *Config) *Size { return &c.Cache.MinFree }),
		"SIZE", "2GiB", "space to leave free on the cache's file system"},
	{scalar("cache.max_pinned", parsePart, func(c *Config) *Part { return &c.Cache.MaxPinned }),
		"SIZE", "50%", "how much of the cache images that are pinned may take, as a size or a percentage of cache.max_size"},
	{scalar("cache.max_fills", parseFills, func(c *Config) *int { return &c.Cache.MaxFills }),
		"DOWNLOADS", "32", "how many blobs are downloaded into the cache at once; further downloads wait"},
	{scalar("cache.scrub", parseScrub, func(c *Config) *duration { return (*duration)(&c.Cache.Scrub) }),
		"DURATION", "168h", "time in which all cached content is read once to detect disk damage, 1h or more; 0 disables it"},
	{scalar("clients.max_requests", count("requests"), func(c *Config) *int { return &c.Clients.MaxRequests }),
		"REQUESTS", "256", "how many requests one client may have in flight; 0 means no limit"},
	{scalar("clients.requests_per_second", count("requests"), func(c *Config) *int { return &c.Clients.RequestsPerSecond }),
		"REQUESTS", "0", "how many requests one client may send in a second, after a burst of 200; 0 means no limit"},
	{scalar("clients.max_connections", count("connections"), func(c *Config) *int { return &c.Clients.MaxConnections }),
		"CONNECTIONS", "0", "how many connections one client address may have open, on all listeners together; 0 means no limit"},
	{scalar("clients.bandwidth", parseRateLimit, func(c *Config) *Size { return &c.Clients.Bandwidth }),
		"RATE", "0", "how many bytes are sent to one client in a second, over all of its connections, 64KiB or more; 0 means no limit"},
	{scalar("clients.total_bandwidth", parseRateLimit, func(c *Config) *Size { return &c.Clients.TotalBandwidth }),
		"RATE", "0", "how many bytes are sent to all clients together in a second, 64KiB or more; clients share them evenly, however many connections they have; 0 means no limit"},
	{scalar("clients.catalog", parseBool, func(c *Config) *bool { return &c.Clients.Catalog }),
		"true|false", "false", "whether /v2/_catalog lists the repositories that are cached, those of private registries included"},
	{words("clients.allow", parseCIDR, func(c *Config) *[]string { return &c.Clients.Allow }),
		"NETWORK", "", "networks whose clients are served, as 10.1.0.0/16 or one address, and no others; none means all" + listHelp},
	{words("clients.deny", parseCIDR, func(c *Config) *[]string { return &c.Clients.Deny }),
		"NETWORK", "", "networks whose clients are refused, also if clients.allow has them" + listHelp},
	{words("clients.trusted_proxies", parseProxyNetwork, func(c *Config) *[]string { return &c.Clients.TrustedProxies }),
		"NETWORK", "", "networks of proxies and load balancers that may say which client they speak for, by Forwarded, X-Forwarded-For or the PROXY protocol" + listHelp},
	{scalar("access.private", oneOf("deny", "rules", "allow"), func(c *Config) *string { return &c.Access.Private }),
		"deny|rules|allow", "deny", "who gets private images that an upstream lets the mirror's login have: deny serves none, rules those that access.rules allow, allow serves them to everybody"},
	{listOf(accessRulesKey, accessRules, func(c *Config) []AccessRule { return c.Access.Rules }, func(c *Config, all []AccessRule) { c.Access.Rules = all }),
		"RULE", "", "what may be pulled, each rule as deny=true, allow=true, min_age=DURATION or require_signature=KEYFILE and its conditions: upstream, repository, tag, from, who; the first match decides, and what no rule matches is allowed" + listHelp},
	{scalar("access.audit_log", parseAuditLog, func(c *Config) *string { return &c.Access.AuditLog }),
		"FILE", "", "file to which a line of JSON is appended for each refused request, failed login and change through the admin API; stderr writes them there; SIGHUP opens the file again; without a file those changes are in the log"},
	{scalar(tagsFreshKey, parseDuration, func(c *Config) *duration { return (*duration)(&c.Tags.Fresh) }),
		"DURATION", "1m", "how long a tag, or a list of tags or referrers, is served before it is checked with the upstream again; 0 checks every time"},
	{listOf("tags.rules", rules, getRules, setRules),
		"RULE", "", "tags with a freshness of their own, each as match=PATTERN,fresh=DURATION; the first match wins" + listHelp},
	{scalar("tags.stale_while_revalidate", parseDuration, func(c *Config) *duration { return (*duration)(&c.Tags.StaleWhileRevalidate) }),
		"DURATION", "0s", "how long a tag that is no longer fresh is served at once while it is checked in the background; 0 waits for the upstream"},
	{scalar("tags.max_stale", parseDuration, func(c *Config) *duration { return (*duration)(&c.Tags.MaxStale) }),
		"DURATION", "720h", "how long after its last confirmation a tag or list is still served while the upstream is unavailable; 0 never serves stale copies"},
	{scalar("tags.max_silence", parseDuration, func(c *Config) *duration { return (*duration)(&c.Tags.MaxSilence) }),
		"DURATION", "1.5s", "how long the upstream may be silent before the stale copy of a tag or list is served; a slow upstream that makes progress gets up to 10s; 0 waits until it fails"},
	{scalar("quota.reserve", parseShare, func(c *Config) *Share { return &c.Quota.Reserve }),
		"SHARE", "10%", "part of an upstream's pull limit to hold in reserve, as a percentage or a number of pulls; 0 reserves nothing"},
	{scalar("quota.probe", parseProbe, func(c *Config) *duration { return (*duration)(&c.Quota.Probe) }),
		"DURATION", "15m", "how often an upstream is asked how much of its pull limit is left, 1m or more; 0 never asks"},
	{scalar("quota.per_client", count("pulls"), func(c *Config) *int { return &c.Quota.PerClient }),
		"PULLS", "0", "how many upstream pulls one client may cause in six hours; 0 means no limit"},
	{scalar("status.clients", parseBool, func(c *Config) *bool { return &c.Status.Clients }),
		"true|false", "true", "whether the status names the clients that pulled most in the last day, to those who have the admin token; false remembers none"},
	{listOf(warmListsKey, warmLists, func(c *Config) []WarmList { return c.Warm.Lists }, func(c *Config, all []WarmList) { c.Warm.Lists = all }),
		"LIST", "", "images to fetch before clients ask for them, each list as name=NAME,file=FILE,schedule=CRON and optionally time_zone, platforms and max_pulls; one with images instead of a file needs the configuration file" + listHelp},
	{listOf(notifyKey, webhooks, func(c *Config) []Webhook { return c.Notify }, func(c *Config, all []Webhook) { c.Notify = all }),
		"WEBHOOK", "", "webhooks that are sent events as CloudEvents, each as url=URL,on=EVENT and optionally name, tags, secret_file, ca_file, headers_file; one with several events or tags needs the configuration file" + listHelp},
	{scalar(offlineKey, parseBool, func(c *Config) *bool { return &c.Offline }),
		"true|false", "false", "whether only what is cached is served, tags of any age included, without asking an upstream; the flag needs no value"},
	{group(fleetS3Key, s3Table, func(c *Config) *S3 { return &c.Fleet.S3 }),
		"BUCKET", "", "bucket where this mirror and others share what they fetch, as endpoint=URL,bucket=NAME and optionally prefix, region, path_style, ca_file, access_key, secret_key_file"},
	{scalar("fleet.node", parseOptional(parseNode), func(c *Config) *string { return &c.Fleet.Node }),
		"NAME", "", "name of this mirror among those that share the bucket; without one that of the host"},
	{scalar(fleetListenKey, parseOptional(parseAddress), func(c *Config) *string { return &c.Fleet.Listen }),
		"ADDRESS", "", "address that serves other mirrors what this one has or is downloading, as host:port; clients need not reach it"},
	{scalar(fleetAdvertiseKey, parseOptional(parseAdvertise), func(c *Config) *string { return &c.Fleet.Advertise }),
		"ADDRESS", "", "address at which other mirrors reach fleet.listen, as host:port; without one fleet.listen itself"},
	{scalar(fleetSecretKey, parseOptional(parsePath), func(c *Config) *string { return &c.Fleet.SecretFile }),
		"FILE", "", "file with the secret that all mirrors of the fleet have; without one they share content alone"},
	{scalar(fleetLeasesKey, oneOf(LeasesAuto, LeasesRequire, LeasesOff), func(c *Config) *string { return &c.Fleet.Leases }),
		"auto|require|off", LeasesAuto, "whether mirrors agree on who downloads a blob: auto if the object store can, require to refuse one that cannot, or off"},
	{scalar(fleetPrivateKey, oneOf(PrivateOff, PrivateShare), func(c *Config) *string { return &c.Fleet.Private }),
		"MODE", "off", "whether content of private repositories goes into the bucket, for mirrors that the upstream lets have it: off or share"},
	{scalar("fleet.upload_bandwidth", parseUploadRate, func(c *Config) *Size { return &c.Fleet.UploadBandwidth }),
		"RATE", "0", "how many bytes are uploaded to the bucket in a second, by all uploads together, 256KiB or more; 0 means no limit"},
	{scalar("fleet.max_age", parseMaxAge, func(c *Config) *duration { return (*duration)(&c.Fleet.MaxAge) }),
		"DURATION", "720h", "age after which what no mirror has wanted may be removed from the bucket, 1d or more"},
	{listOf("upstreams", upstreams, getUpstreams, setUpstreams),
		"UPSTREAM", "docker.io", "the registries to mirror, the default first, each as NAME for one that is known by name, or as name=HOST,url=URL and further keys; lists of several values need the file" + listHelp},
	{scalar("log.level", oneOf("debug", "info", "warn", "error"), func(c *Config) *string { return &c.Log.Level }),
		"LEVEL", "info", "lowest level to log: debug, info, warn or error"},
	{scalar("log.access", oneOf("off", "errors", "all"), func(c *Config) *string { return &c.Log.Access }),
		"off|errors|all", "all", "requests to log: all, errors for those that failed, were cut short, denied or limited, or off"},
	{scalar("log.access_sample", parseSample, func(c *Config) *int { return &c.Log.AccessSample }),
		"N", "1", "with log.access all, log one of N requests that are not errors, which are always logged"},
	{scalar("log.format", oneOf(AutoFormat, "json", "console"), func(c *Config) *string { return &c.Log.Format }),
		"FORMAT", AutoFormat, "format of log messages: json, console for people, or auto: console if standard error is a terminal, else json"},
}

// AutoFormat is the log.format that depends on who reads it.
const AutoFormat = "auto"

// settingByKey returns the setting with that key, or nil if there is none.
func settingByKey(key string) *setting {
	for i := range settings {
		if settings[i].key == key {
			return &settings[i]
		}
	}
	return nil
}

// keysBelow returns the keys of the mapping of that name, in the order of the table;
// the name of the root is empty.
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

// flag returns the flag of s without leading dashes: cache.max_size is
// cache-max-size. The flag of a list sets one entry, so it is singular.
func (s *setting) flag() string {
	name := strings.NewReplacer(".", "-", "_", "-").Replace(s.key)
	if s.list {
		return strings.TrimSuffix(name, "s")
	}
	return name
}

// env returns the variable of s: cache.max_size is MIRRORD_CACHE_MAX_SIZE.
func (s *setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// standard returns the default as the documentation shows it.
func (s *setting) standard() string {
	if s.fallback == "" {
		return "none"
	}
	return s.fallback
}

// Table returns the reference of all settings as a Markdown table with one row for
// each setting.
func Table() string {
	var b strings.Builder
	b.WriteString("| key | flag | environment | default | meaning |\n|---|---|---|---|---|\n")
	for _, s := range settings {
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | `%s` | %s |\n", s.key, s.flag(), s.env(), s.standard(), s.help)
	}
	return b.String()
}
