package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/upstream"
)

const (
	pingTimeout = 10 * time.Second
	maxSkew     = 30 * time.Second
)

// Upstream is an upstream that is checked.
type Upstream struct {
	Pool    *upstream.Pool
	Hosts   *upstream.Breakers
	Reserve func(limit int) int // see upstream.PoolOptions
	Image   oci.Ref             // a tag that it should have; zero: none is known
	Blob    oci.Ref             // of LeastBlob bytes or more, that it should have; zero: none is known
}

// check asks the upstream for /v2/, and if it responds, with each credential for what the
// mirror could ask for at no cost.
func (u Upstream) check(ctx context.Context) []Check {
	all, responds := u.ping(ctx)
	if all == nil {
		return []Check{{"upstream " + u.Pool.Name(), OK, "not asked, because of offline: true", ""}}
	}
	for _, err := range u.Hosts.Failures() {
		all = append(all, Check{"hosts of " + u.Pool.Name(), Fail, err.Error(), "the mirror asks it for /v2/ every 5 s, and uses it again once it responds: see what it says above, and the log"})
	}
	if responds {
		checks, registry := u.credentials(ctx)
		all = append(append(all, checks...), u.download(ctx, registry))
	}
	for _, m := range u.Pool.Members() {
		all = append(all, limit(m.Budget(), u.Reserve))
	}
	return all
}

// credentials checks all of them at the same time. It returns the Registry of the one that
// works best, nil when all logins are refused.
func (u Upstream) credentials(ctx context.Context) (all []Check, best *upstream.Registry) {
	all = make([]Check, len(u.Pool.Members()))
	registries := make([]*upstream.Registry, len(all))
	var asked sync.WaitGroup
	for i, m := range u.Pool.Members() {
		asked.Go(func() { all[i], registries[i] = u.credential(ctx, m) })
	}
	asked.Wait()
	for i, r := range registries {
		if best == nil || r != nil && all[i].State == OK {
			best = r
		}
	}
	return all, best
}

// ping sends one GET of /v2/, which no pull limit counts, without a login. It checks the
// response, and the clock of this host against that of the upstream. It returns no checks
// when nothing may be sent, and whether to ask for more.
func (u Upstream) ping(ctx context.Context) (all []Check, responds bool) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	var r reached
	sent := time.Now()
	resp, err := u.Hosts.Ping(r.watch(ctx))
	what := "upstream " + u.Pool.Name()
	switch {
	case errors.Is(err, oci.ErrOffline):
		return nil, false
	case err != nil:
		return []Check{{what, Fail, r.detail(err), r.hint(err, "check url, its scheme, and what is on the way: firewall, proxy")}}, false
	}
	c := response(what, resp, time.Since(sent))
	return append([]Check{c}, clock(resp.Request.URL.Host, resp.Header, time.Now())...), c.State != Fail
}

// response is the check of a response to a GET of /v2/.
func response(what string, resp *http.Response, took time.Duration) Check {
	detail := fmt.Sprintf("%s responds %s after %s", resp.Request.URL.Host, resp.Status, took.Round(time.Millisecond))
	switch {
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusUnauthorized:
		return Check{what, OK, detail, ""}
	case resp.StatusCode == http.StatusTooManyRequests:
		return Check{what, Warn, detail, "it limits the requests of this network: wait, and see what else sends requests from here"}
	case resp.StatusCode >= http.StatusInternalServerError:
		return Check{what, Fail, detail, "the registry or a proxy on the way to it is down: see its status page, and the setting proxy of the upstream"}
	}
	return Check{what, Warn, detail, "a registry responds 200 or 401 to /v2/: check that url is that of a registry, and that no filter or login page is on the way"}
}

// clock compares the time of this host with the Date of a response from host. Without one
// there is no check.
func clock(host string, header http.Header, now time.Time) []Check {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return nil
	}
	skew := now.Sub(date).Round(time.Second)
	detail := fmt.Sprintf("%s from the Date of %s", skew.Abs(), host)
	if skew.Abs() > maxSkew {
		return []Check{{"clock", Warn, detail, "set this host's clock, by NTP: certificates and tokens seem expired or not yet valid otherwise"}}
	}
	return []Check{{"clock", OK, detail, ""}}
}
