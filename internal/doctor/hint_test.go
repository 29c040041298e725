package doctor

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"testing"
)

// A request that timed out is judged by how far it has come, whichever of several addresses
// of its host was connected to.
func TestHint(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for name, test := range map[string]struct {
		events func(*httptrace.ClientTrace)
		err    error
		want   string
	}{
		"a name that is not known": {func(*httptrace.ClientTrace) {}, &net.DNSError{Err: "no such host", IsTimeout: true}, hintName},
		"a DNS that is silent":     {func(c *httptrace.ClientTrace) { c.DNSStart(httptrace.DNSStartInfo{}) }, context.DeadlineExceeded, hintName},
		"a silent address": {func(c *httptrace.ClientTrace) {
			c.DNSStart(httptrace.DNSStartInfo{})
			c.DNSDone(httptrace.DNSDoneInfo{})
		}, context.DeadlineExceeded, hintConnection},
		"one address of two": {func(c *httptrace.ClientTrace) {
			c.ConnectDone("tcp", "192.0.2.1:443", nil)
			c.ConnectDone("tcp6", "[2001:db8::1]:443", refused)
			c.TLSHandshakeStart()
		}, context.DeadlineExceeded, hintHandshake},
		"a connection": {func(c *httptrace.ClientTrace) { c.GotConn(httptrace.GotConnInfo{}) }, context.DeadlineExceeded, hintTimeout},
		"refused":      {func(*httptrace.ClientTrace) {}, refused, hintConnection},
		"other":        {func(*httptrace.ClientTrace) {}, errors.New("EOF"), "other"},
	} {
		var r reached
		trace := httptrace.ContextClientTrace(r.watch(t.Context()))
		trace.GetConn("hub.example:443")
		test.events(trace)
		if got := r.hint(test.err, "other"); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
