package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
)

// between is the time between two requests, so that hostFailures of them fill
// minFailureTime.
const between = minFailureTime / (hostFailures - 1)

// fail makes the breaker of hubHost open.
func (b *breakers) fail(t *testing.T) {
	t.Helper()
	for i := range hostFailures {
		if err := b.get(t.Context(), hub+strconv.Itoa(i)); err == nil || errors.Is(err, errOpen) {
			t.Fatalf("error %v, want one of the host's own", err)
		}
		<-time.After(between)
	}
}

// wantRefused checks that a client gets the answer at once, and that nothing is
// sent for it.
func (b *breakers) wantRefused(t *testing.T, n *network) error {
	t.Helper()
	n.mu.Lock()
	sent := n.asked[hubHost]
	n.mu.Unlock()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := b.get(ctx, hub)
	var told *oci.Error
	if !errors.Is(err, errOpen) || !errors.As(err, &told) || told.Code != oci.Unavailable {
		t.Errorf("error %v, want a refusal", err)
	}
	if took := time.Since(begun); took != 0 {
		t.Errorf("refused after %v", took)
	}
	n.wantSent(t, hubHost, sent)
	return told
}

// offered is what a host in memory does that was connected to before.
func offered(do behaviour) behaviour {
	return func(req *http.Request) (*http.Response, error) {
		if trace := httptrace.ContextClientTrace(req.Context()); trace != nil {
			trace.GotConn(httptrace.GotConnInfo{})
		}
		return do(req)
	}
}

func TestBreakerOpensAfterFiveFailures(t *testing.T) {
	refused := broken(errors.New("connection refused"))
	reset := offered(broken(errors.New("connection reset by peer")))
	for name, test := range map[string]struct {
		answers []behaviour // in turn
		paths   int         // that are asked, in turn
		pause   time.Duration
		sent    int // of 20
	}{
		"503":                      {[]behaviour{status(503)}, 20, between, 5},
		"500":                      {[]behaviour{status(500)}, 20, between, 5},
		"no connection":            {[]behaviour{refused}, 20, between, 5},
		"no answer":                {[]behaviour{reset}, 20, between, 5},
		"of any kind":              {[]behaviour{reset, status(502)}, 20, between, 5},
		"an answer in between":     {[]behaviour{reset, reset, reset, reset, status(200)}, 20, between, 20},
		"not found":                {[]behaviour{status(404)}, 20, between, 20},
		"denied":                   {[]behaviour{status(401), status(403)}, 20, between, 20},
		"limited":                  {[]behaviour{status(429)}, 20, between, 20},
		"in one moment":            {[]behaviour{status(503)}, 20, 0, 20},
		"in less than a second":    {[]behaviour{status(503)}, 20, between / 10, 20},
		"in a second":              {[]behaviour{status(503)}, 20, minFailureTime / 10, 11},
		"503 to one path":          {[]behaviour{status(503)}, 1, between, 20},
		"503 to four paths":        {[]behaviour{status(503)}, 4, between, 20},
		"503 to five paths":        {[]behaviour{status(503)}, 5, between, 5},
		"no connection, one path":  {[]behaviour{refused}, 1, between, 5},
		"no answer, one path":      {[]behaviour{reset}, 1, between, 20},
		"no answer, two paths":     {[]behaviour{reset}, 2, between, 5},
		"a private address":        {[]behaviour{broken(errPrivate)}, 20, between, 20},
		"a slow client's patience": {[]behaviour{broken(context.Canceled)}, 20, between, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				b := newBreakers(n)
				var last error
				for i := range 20 {
					n.set(hubHost, test.answers[i%len(test.answers)])
					last = b.get(t.Context(), hub+strconv.Itoa(i%test.paths))
					<-time.After(test.pause)
				}
				n.wantSent(t, hubHost, test.sent)
				open := test.sent < 20
				if errors.Is(last, errOpen) != open || b.Failing() > 0 != open {
					t.Errorf("%v, %d hosts fail; want open %v", last, b.Failing(), open)
				}
			})
		})
	}
}

// What a client asks for again and again, and what hangs or breaks off each time,
// has the host probed, and does not decide about it.
func TestOneFailingPath(t *testing.T) {
	for name, test := range map[string]struct {
		path, ping behaviour
		open       bool
	}{
		"the host lives":       {offered(broken(errors.New("reset"))), status(401), false},
		"the host fails":       {offered(broken(errors.New("reset"))), status(503), true},
		"the host hangs":       {offered(hanging), offered(hanging), true},
		"only the path hangs":  {offered(hanging), status(401), false},
		"a path and the probe": {status(503), status(503), false}, // no request waits for either
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				n.set(hubHost, func(req *http.Request) (*http.Response, error) {
					if OperationOf(req) == Ping {
						return test.ping(req)
					}
					return test.path(req)
				})
				b := newBreakers(n)
				defer b.run(t)()
				for range 60 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_ = b.get(ctx, hub) // what comes of it is told below
					cancel()
					<-time.After(between)
				}
				synctest.Wait()
				if open := b.Failing() > 0; open != test.open {
					t.Errorf("open %v, want %v", open, test.open)
				}
			})
		})
	}
}

// A client that leaves says nothing of the host; that the time for an answer is
// over does.
func TestCanceledRequests(t *testing.T) {
	for name, test := range map[string]struct {
		bound func(context.Context) (context.Context, context.CancelFunc)
		sent  int // of 20
	}{
		"the client": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, leave := context.WithCancel(ctx)
			time.AfterFunc(time.Second, leave)
			return ctx, leave
		}, 20},
		"a client that has something else": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, leave := context.WithCancelCause(ctx)
			time.AfterFunc(time.Second, func() { leave(errors.New("there is an older copy")) })
			return ctx, func() { leave(nil) }
		}, 20},
		"a deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, 5},
		"the bound of an answer": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, _, cancel := new(Registry).withResponseTimeout(ctx)
			return ctx, cancel
		}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				n.set(hubHost, hanging)
				b := newBreakers(n)
				for range 20 {
					ctx, cancel := test.bound(t.Context())
					if err := b.get(ctx, hub); err == nil {
						t.Error("an answer from a host that hangs")
					}
					cancel()
				}
				n.wantSent(t, hubHost, test.sent)
			})
		})
	}
}

// While requests arrive four times a second, the host hangs and later recovers:
// none of them waits for it, even when a probe is due or in flight.
func TestProbesDetectRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.set(hubHost, status(503))
		b := newBreakers(n)
		b.fail(t)
		b.wantEvents(t, "opened registry.example: it responded with 503 Service Unavailable")
		n.set(hubHost, hanging)
		defer b.run(t)()
		refusedFor := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); <-time.After(250 * time.Millisecond) {
				b.wantRefused(t, n)
				synctest.Wait()
			}
		}
		refusedFor(29 * time.Second) // probes at 5 s until 14 s, at 15 s until 24 s, and at 25 s
		n.wantProbes(t, map[string]int{"GET https://registry.example/v2/": 3})
		n.set(hubHost, status(401))
		refusedFor(5 * time.Second)
		<-time.After(2 * time.Second)
		synctest.Wait()
		check(t, b.get(t.Context(), hub))
		n.wantProbes(t, map[string]int{"GET https://registry.example/v2/": 4})
		b.wantEvents(t, "closed registry.example")
		n.set(hubHost, status(503))
		b.fail(t) // five again
		b.wantRefused(t, n)
	})
}

// A registry below a path is probed there: a proxy before it may answer 503 to
// every path that it does not know, and would be taken for down for ever.
func TestProbeBelowAPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.set(hubHost, status(503))
		b := newBreakersOf("https://registry.example/team/", n)
		b.fail(t)
		n.set(hubHost, func(req *http.Request) (*http.Response, error) {
			if req.URL.Path != "/team/v2/" {
				return status(503)(req)
			}
			return status(401)(req)
		})
		stop := b.run(t)
		<-time.After(probeEvery + time.Second)
		stop()
		b.wantEvents(t, "opened registry.example: it responded with 503 Service Unavailable", "closed registry.example")
	})
}

// The end of the mirror ends a probe, which is no failure of the host's.
func TestRunWaitsForProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.set(hubHost, status(500))
		b := newBreakers(n)
		b.fail(t)
		const end, lingers = probeEvery + time.Second, time.Second / 2
		n.set(hubHost, func(req *http.Request) (*http.Response, error) {
			resp, err := hanging(req)
			<-time.After(lingers)
			return resp, err
		})
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(end, stop)
		begun := time.Now()
		check(t, b.Run(ctx))
		if took := time.Since(begun); took != end+lingers {
			t.Errorf("ended after %v, want %v: when the probe has", took, end+lingers)
		}
		n.wantProbes(t, map[string]int{"GET https://registry.example/v2/": 1})
		if err := b.wantRefused(t, n); !strings.Contains(err.Error(), "failed 5 times in a row (last error: it responded with 500") {
			t.Errorf("%v: the probe that was ended counts", err)
		}
	})
}

// One host's breaker is its own, and one that hangs holds no other's probe up.
func TestHostsAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		b := newBreakers(n)
		b.opts.Opened = func(string, error) {}
		hosts := []string{"http://a.example/x?sig=1", "https://a.example/x", "https://b.example:8443/x", "https://c.example/x"}
		for _, host := range []string{"a.example", "b.example:8443"} {
			n.set(host, status(502))
		}
		for i := range hostFailures {
			for _, address := range hosts {
				_ = b.get(t.Context(), strings.Replace(address, "/x", "/"+strconv.Itoa(i), 1)) // what comes of it is told below
			}
			<-time.After(between)
		}
		if failing := b.Failing(); failing != 3 {
			t.Errorf("%d hosts fail, want 3", failing)
		}
		check(t, b.get(t.Context(), hosts[3]))

		n.set("a.example", hanging)
		n.set("b.example:8443", status(404))
		defer b.run(t)()
		<-time.After(probeEvery)
		synctest.Wait()
		b.wantEvents(t, "closed b.example:8443")
		check(t, b.get(t.Context(), hosts[2]))
		if err := b.get(t.Context(), hosts[1]); !errors.Is(err, errOpen) {
			t.Errorf("a host that hangs: %v", err)
		}
		n.wantProbes(t, map[string]int{
			"GET http://a.example/v2/": 1, "GET https://a.example/v2/": 1, "GET https://b.example:8443/v2/": 1,
		})
	})
}

func TestOpenBreakerError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.set(hubHost, broken(errors.New(`Get "https://user:s3cret@registry.example/x?sig=s3cret": connection refused`)))
		b := newBreakers(n)
		b.fail(t)
		ctx, stop := context.WithTimeout(t.Context(), 3*probeEvery+time.Second)
		defer stop()
		check(t, b.Run(ctx))
		err := b.wantRefused(t, n)
		const want = `docker.io: host registry.example has failed 8 times in a row (last error: ` +
			`Get "https://registry.example/x": connection refused); no requests are sent to it until a probe succeeds (one every 5s)`
		if err.Error() != want {
			t.Errorf("%v\nwant %v", err, want)
		}
		b.wantEvents(t, `opened registry.example: Get "https://registry.example/x": connection refused`)
	})
}

// An upstream that redirects to ever more hosts takes no more memory.
func TestHostsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreakers(broken(errors.New("refused")))
		for i := range 2 * maxHosts {
			for range hostFailures {
				_ = b.get(t.Context(), fmt.Sprintf("https://storage%d.example/", i)) // fails
				<-time.After(between)
			}
		}
		if failing := b.Failing(); failing != maxHosts {
			t.Errorf("%d hosts are remembered, want %d", failing, maxHosts)
		}
	})
}

// Many clients of a host that fails, recovers and fails again: each change is
// reported once, and the number of failed requests is bounded.
func TestBreakerWithManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 50
		n := newNetwork()
		b := newBreakers(n)
		defer b.run(t)()
		for range 3 {
			n.set(hubHost, status(503))
			var all sync.WaitGroup
			for i := range clients {
				all.Go(func() {
					for !errors.Is(b.get(t.Context(), hub+strconv.Itoa(i)), errOpen) {
						<-time.After(minFailureTime)
					}
				})
			}
			all.Wait()
			n.mu.Lock()
			if sent := n.asked[hubHost]; sent < hostFailures || sent > 2*clients {
				t.Errorf("%d requests to a host that fails", sent)
			}
			n.asked[hubHost] = 0
			n.mu.Unlock()
			n.set(hubHost, status(200))
			<-time.After(probeEvery)
			synctest.Wait()
			b.wantEvents(t, "opened "+hubHost+": it responded with 503 Service Unavailable", "closed "+hubHost)
		}
	})
}
