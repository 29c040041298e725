package config

import "slices"

// Adopt returns c with the settings of other that take effect while the daemon runs. The
// rest needs a restart.
func (c *Config) Adopt(other *Config) *Config {
	adopted := *c
	adopted.Cache.MaxSize, adopted.Cache.MinFree = other.Cache.MaxSize, other.Cache.MinFree
	adopted.Cache.MaxPinned = other.Cache.MaxPinned
	adopted.Cache.MaxFills, adopted.Cache.Scrub = other.Cache.MaxFills, other.Cache.Scrub
	adopted.Clients = other.Clients
	adopted.Clients.MaxConnections, adopted.Clients.TrustedProxies = c.Clients.MaxConnections, c.Clients.TrustedProxies
	adopted.Access.Private, adopted.Access.Rules = other.Access.Private, other.Access.Rules
	adopted.Tags, adopted.Quota, adopted.Offline = other.Tags, other.Quota, other.Offline
	adopted.Status, adopted.Warm, adopted.Log = other.Status, other.Warm, other.Log
	adopted.Log.Format = c.Log.Format
	adopted.Notify = other.Notify
	adopted.Listeners = adoptAuth(c.Listeners, other.Listeners)
	adopted.Upstreams = adoptUpstreams(c.Upstreams, other.Upstreams)
	return &adopted
}

// adoptAuth adopts who is let in by a listener, if it has the same address and TLS goes
// on to ask for certificates, or not.
func adoptAuth(all, other []Listener) []Listener {
	adopted := slices.Clone(all)
	for i := range adopted {
		l := &adopted[i]
		for _, o := range other {
			if o.Address == l.Address && o.Auth.ClientCertificates == l.Auth.ClientCertificates && o.Auth.HasLogin() == l.Auth.HasLogin() {
				l.Auth = o.Auth
			}
		}
	}
	return adopted
}

// adoptUpstreams adopts the credentials and the rules of tags of upstreams that are in
// both.
func adoptUpstreams(all, other []Upstream) []Upstream {
	adopted := slices.Clone(all)
	for i := range adopted {
		u := &adopted[i]
		for _, o := range other {
			if o.Name == u.Name {
				u.Credentials, u.TagRules = o.Credentials, o.TagRules
			}
		}
	}
	return adopted
}

// Diff returns the keys of the settings in which other differs.
func (c *Config) Diff(other *Config) []string {
	var keys []string
	for _, s := range settings {
		if !slices.Equal(s.write(c), s.write(other)) {
			keys = append(keys, s.key)
		}
	}
	return keys
}
