package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

const (
	adminTime  = 10 * time.Second // until an answer begins
	adminBytes = 16 << 20         // of an answer that is read whole
	adminWords = 1 << 10          // of an answer that refuses
)

// errNobody says that no mirror answers.
var errNobody = errors.New("no mirror answers")

// askAdmin asks a running mirror. It fails with errNobody, or with what the
// mirror says instead of 200. The caller closes the answer's body.
func askAdmin(ctx context.Context, method, listen, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+reachable(listen)+path, nil)
	if err != nil {
		return nil, err
	}
	req.Host = "localhost" // the name that it is known by here need not be one that it trusts
	// A proxy has no business between the two.
	direct := http.Client{Transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: adminTime}).DialContext,
		ResponseHeaderTimeout: adminTime,
		DisableKeepAlives:     true,
	}}
	resp, err := direct.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w; does it run, and is this its admin.listen?", errNobody, listen, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	words, _ := io.ReadAll(io.LimitReader(resp.Body, adminWords)) // what could be read is what is told
	return nil, fmt.Errorf("the mirror at %s answers %s: %s", listen, resp.Status, strings.TrimSpace(string(words)))
}

// reachable is the address to dial for one that is listened on: everywhere
// includes here.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if address, err := netip.ParseAddr(host); host == "" || err == nil && address.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
