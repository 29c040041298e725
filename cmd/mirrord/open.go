package main

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"go.uber.org/zap"

	"mirrord/internal/config"
)

// warnOpen warns of listeners on which anybody in the network may pull, with the line
// that changes it.
func warnOpen(cfg *config.Config, log *zap.Logger) {
	if len(cfg.Clients.Allow) > 0 || len(cfg.Access.Rules) > 0 {
		return
	}
	var open []string
	var nearby []netip.Prefix
	for _, l := range cfg.AllListeners() {
		if !l.Auth.IsOpen() || l.TLS.ClientCAFile != "" || isLocal(l.Address) {
			continue
		}
		open = append(open, l.Address)
		nearby = append(nearby, networksAt(l.Address, localNetworks())...)
	}
	if len(open) > 0 {
		log.Warn("anybody who can reach this mirror may pull through it; say who may, or let clients log in",
			zap.Strings("listen", open), zap.String("add", allowLine(nearby)))
	}
}

// isLocal reports whether only this host reaches an address.
func isLocal(address string) bool {
	a, err := net.ResolveTCPAddr("tcp", address)
	return err == nil && a.IP.IsLoopback()
}

// localNetworks returns the private networks that this host is in.
func localNetworks() []netip.Prefix {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil // there is only a less fitting proposal
	}
	var all []netip.Prefix
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsPrivate() {
			all = append(all, p.Masked())
		}
	}
	return all
}

// networksAt returns those of the networks in which a listener is reached.
func networksAt(address string, all []netip.Prefix) []netip.Prefix {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil || isEverywhere(a.IP) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(p netip.Prefix) bool { return !p.Contains(a.AddrPort().Addr().Unmap()) })
}

// allowLine is the line of the configuration that lets in this host and the networks.
func allowLine(networks []netip.Prefix) string {
	names := []string{"127.0.0.1"}
	for _, n := range networks {
		if name := n.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 1 {
		names = append(names, "10.0.0.0/8")
	}
	return "clients: {allow: [" + strings.Join(names, ", ") + "]}"
}
