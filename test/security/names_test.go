package security

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// inside are names that lead to addresses which no public upstream may lead to, as
// anybody can have them in a domain.
var inside = map[string][]string{
	"loopback.evil.example":    {"127.0.0.1"},
	"loopback6.evil.example":   {"::1"},
	"mapped.evil.example":      {"::ffff:127.0.0.1"},
	"unspecified.evil.example": {"0.0.0.0", "::"},
	"nat64.evil.example":       {"64:ff9b::7f00:1"},
	"metadata.evil.example":    {"169.254.169.254"},
	"metadata6.evil.example":   {"fd00:ec2::254"},
	"private.evil.example":     {"10.0.0.1", "192.168.0.1", "fd00::1"},
	"mixed.evil.example":       {"10.0.0.1", "127.0.0.1", "::1"},
	"auth.registry.example":    {"127.0.0.1"},
}

// TestMain makes the mirror ask a DNS server of its own, which knows inside.
func TestMain(m *testing.M) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go serveNames(conn)
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	status := m.Run()
	_ = conn.Close()
	os.Exit(status)
}

func serveNames(conn net.PacketConn) {
	buffer := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if answer := resolve(buffer[:n]); answer != nil {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

// resolve answers a query, or returns nil for what is none.
func resolve(query []byte) []byte {
	var q dnsmessage.Message
	if q.Unpack(query) != nil || len(q.Questions) != 1 {
		return nil
	}
	asked := q.Questions[0]
	addresses, ok := inside[strings.TrimSuffix(asked.Name.String(), ".")]
	a := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, Authoritative: true}, Questions: q.Questions}
	if !ok {
		a.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range addresses {
		address := netip.MustParseAddr(text)
		header := dnsmessage.ResourceHeader{Name: asked.Name, Type: asked.Type, Class: dnsmessage.ClassINET}
		switch {
		case address.Is4() && asked.Type == dnsmessage.TypeA:
			a.Answers = append(a.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		case address.Is6() && asked.Type == dnsmessage.TypeAAAA:
			a.Answers = append(a.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	packed, err := a.Pack()
	if err != nil {
		return nil
	}
	return packed
}
