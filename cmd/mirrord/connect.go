package main

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"text/template"

	"mirrord/internal/config"
	"mirrord/internal/oci"
	"mirrord/internal/status/page"
)

// connection is what clients of the mirror have to know. All of it is of hosts, as a URL
// has them, so that it needs no quoting in the files of any client.
type connection struct {
	Host      string // as host:port
	TLS       bool
	OwnCA     bool // clients may have to be told of a CA
	Upstreams []string
	Hub       string // what a client of Docker Hub asks: Host, with a path if needed; empty: it is not served
	Login     bool   // clients need a login or a certificate
	Only      string // the loopback address at which alone it can be reached, if any
}

// URL is the mirror as a URL.
func (c connection) URL() string { return c.scheme() + c.Host }

// HubURL is what a client of Docker Hub asks.
func (c connection) HubURL() string { return c.scheme() + c.Hub }

func (c connection) scheme() string {
	if c.TLS {
		return "https://"
	}
	return "http://"
}

// connectionOf returns how clients connect to the first listener for all upstreams, or the
// first of all, of a mirror on a host, which may have a port of another service.
func connectionOf(cfg *config.Config, host string) connection {
	listeners := cfg.AllListeners()
	at := max(0, slices.IndexFunc(listeners, func(l config.Listener) bool { return l.Upstream == "" }))
	l := listeners[at]
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	only, port, _ := net.SplitHostPort(l.Address) // it is valid
	c := connection{
		Host:  net.JoinHostPort(strings.Trim(host, "[]"), port),
		TLS:   scheme(l) == "https",
		OwnCA: l.TLS.CertFile != "" || l.ACME.Enabled() && l.ACME.Directory != "",
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
	switch slices.Index(c.Upstreams, oci.DockerHub) {
	case -1:
	case 0:
		c.Hub = c.Host
	default:
		c.Hub = c.Host + "/" + oci.DockerHub
	}
	return c
}

// connect returns what connects each client to the mirror on a host.
func connect(cfg *config.Config, host string) (all page.Connect) {
	c := connectionOf(cfg, host)
	for _, note := range connectNotes {
		if text := expand(note, c); text != "" {
			all.Notes = append(all.Notes, text)
		}
	}
	for _, client := range connectable {
		if client.hubOnly && c.Hub == "" {
			continue
		}
		block := page.Block{Client: client.name}
		for _, s := range client.steps {
			if text := expand(s.text, c); text != "" {
				block.Steps = append(block.Steps, page.Step{Text: text, Code: expand(s.code, c)})
			}
		}
		all.Blocks = append(all.Blocks, block)
	}
	return all
}

// expand returns a text of connectable for a mirror, without white space around it.
func expand(text string, c connection) string {
	var expanded bytes.Buffer
	if err := template.Must(template.New("").Parse(text)).Execute(&expanded, c); err != nil {
		panic(err) // of a constant, which the tests expand
	}
	return strings.TrimSpace(expanded.String())
}
