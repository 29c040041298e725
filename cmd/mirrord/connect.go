package main

import (
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"mirrord/internal/clientconfig"
	"mirrord/internal/config"
	"mirrord/internal/status/page"
)

// connection is what a person has to know who connects clients to the mirror.
type connection struct {
	clientconfig.Mirror
	Login bool   // clients need a login or a certificate
	Only  string // the loopback address at which alone it can be reached, if any
}

// connectionOf returns how clients connect to the first listener for all upstreams, or the
// first of all, of a mirror on a host, which may have a port of another service. An empty
// host is that of the listener, or this one if it listens everywhere.
func connectionOf(cfg *config.Config, host string) connection {
	listeners := cfg.AllListeners()
	at := max(0, slices.IndexFunc(listeners, func(l config.Listener) bool { return l.Upstream == "" }))
	l := listeners[at]
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	only, port, _ := net.SplitHostPort(l.Address) // it is valid
	c := connection{
		Mirror: clientconfig.Mirror{
			URL:   scheme(l) + "://" + net.JoinHostPort(strings.Trim(host, "[]"), port),
			OwnCA: ownCA(l),
		},
		Login: !l.Auth.IsOpen() || needsCertificate(l),
	}
	if address, err := netip.ParseAddr(only); only == "localhost" || err == nil && address.IsLoopback() {
		c.Only = l.Address
	}
	for _, u := range cfg.Upstreams {
		if l.Upstream == "" || l.Upstream == u.Name {
			c.Upstreams = append(c.Upstreams, u.Name)
		}
	}
	return c
}

// ownCA reports whether the certificate of a listener may be of a CA that clients have to
// be told of.
func ownCA(l config.Listener) bool {
	return l.TLS.CertFile != "" || l.ACME.Enabled() && l.ACME.Directory != ""
}

// connect returns what connects clients to the mirror on a host.
func connect(cfg *config.Config, host string) (all page.Connect) {
	c := connectionOf(cfg, host)
	if c.Only != "" {
		all.Notes = append(all.Notes, "The mirror listens at "+c.Only+" only: clients on other machines reach it after listen is changed, for example to 0.0.0.0:5000.")
	}
	if c.Login {
		all.Notes = append(all.Notes, "The mirror asks for a login or a client certificate: docs/clients.md says how each client has one.")
	}
	for _, client := range clientconfig.All(c.Mirror) {
		all.Blocks = append(all.Blocks, page.Block{Client: client.Client, Steps: stepsOf(client)})
	}
	return all
}

// stepsOf is what a person does for a client, one after the other.
func stepsOf(c clientconfig.Config) (steps []page.Step) {
	if c.CA != "" {
		steps = append(steps, page.Step{Text: "Give it the certificate of the mirror's CA, ca.crt, unless that is a public one:", Code: "install -D -m 644 ca.crt " + c.CA})
	}
	for _, f := range c.Files {
		do := "Write "
		if f.Shared || f.Excerpt {
			do = "Add to "
		}
		steps = append(steps, page.Step{Text: do + path.Join(c.Dir, f.Path) + ":", Code: strings.TrimSpace(f.Text)})
	}
	if c.Apply != "" {
		steps = append(steps, page.Step{Text: "Then:", Code: c.Apply})
	}
	for _, note := range c.Notes {
		steps = append(steps, page.Step{Text: note})
	}
	return steps
}
