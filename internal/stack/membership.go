package stack

import (
	"net/http"
	"slices"

	"mirrord/internal/login"
	"mirrord/internal/oci"
	"mirrord/internal/upstream"
)

// withoutLogin returns u as it is for those who have no login.
func withoutLogin(u Upstream, id string, network http.RoundTripper) oci.Registry {
	return upstream.New(upstream.Options{
		Name: u.Name, ID: id, URL: u.URL, Auth: login.Anonymous(), Transport: network,
		Prefix: u.Prefix, TokenHosts: u.TokenHosts, ResponseTimeout: u.ResponseTimeout,
	})
}

// logins returns all logins of an upstream, those of its fallbacks included.
func (u Upstream) logins() []*login.Login {
	var all []*login.Login
	for _, c := range u.Credentials {
		all = append(all, c.Login)
	}
	for _, f := range u.Fallbacks {
		for _, c := range f.Credentials {
			all = append(all, c.Login)
		}
	}
	return all
}

// mayLogIn reports whether requests to u may be sent with a login.
func (u Upstream) mayLogIn() bool {
	return slices.ContainsFunc(u.logins(), func(l *login.Login) bool { return !l.IsAnonymous() })
}

// loggedIn returns a function that reports whether a login may have been sent to any of
// the upstreams.
func loggedIn(upstreams []Upstream) func() bool {
	var all []*login.Login
	for _, u := range upstreams {
		all = append(all, u.logins()...)
	}
	return func() bool { return slices.ContainsFunc(all, (*login.Login).Used) }
}
