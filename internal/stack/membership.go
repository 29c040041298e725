package stack

import (
	"net/http"
	"strings"

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

// isOf reports whether a pool is of the upstream of that name, or of one of its fallbacks.
func isOf(pool, name string) bool {
	rest, ok := strings.CutPrefix(pool, name)
	return ok && (rest == "" || strings.HasPrefix(rest, fallbackInfix))
}
