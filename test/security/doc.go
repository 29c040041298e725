// Package security attacks a whole mirror: from the side of its upstreams, which lead it
// elsewhere and ask for its logins, and from the side of its clients, with raw sockets.
package security
