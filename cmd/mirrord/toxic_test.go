package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"mirrord/internal/hubsim"
)

// toxins are put on one after the other: first those that no client may notice
// but by the time it takes.
var toxins = []toxin{
	{"latency", `{"type": "latency", "attributes": {"latency": 100, "jitter": 50}}`, false},
	{"bandwidth", `{"type": "bandwidth", "attributes": {"rate": 400}}`, false},
	{"slicing", `{"type": "slicer", "attributes": {"average_size": 1000, "size_variation": 500, "delay": 20}}`, false},
	{"reset of answers", `{"type": "reset_peer", "toxicity": 0.8, "attributes": {"timeout": 0}}`, true},
	{"reset of requests", `{"type": "reset_peer", "stream": "upstream", "attributes": {"timeout": 0}}`, true},
	{"time-out", `{"type": "timeout", "toxicity": 0.5, "attributes": {"timeout": 300}}`, true},
}

const (
	toxicClients = 50
	toxicImages  = 30
	toxicAnswers = 300 // under each toxin, at least
	toxicFaults  = 10  // seen by mirrord under each toxin that breaks, at least
	toxicStrikes = 100 // of each toxin, at most
)

// Between mirrord and the hub everything goes wrong that can happen to a
// connection, while many clients pull more than the cache can hold.
func TestToxics(t *testing.T) {
	hub, err := hubsim.Start(hubsim.Options{})
	check(t, err)
	t.Cleanup(hub.Close)
	content := newNoise(hub)
	for i := range toxicImages {
		content.publish(t, fmt.Sprintf("library/image-%d", i), 1)
	}
	way := newToxicWay(t, hub)
	m := newMirror(t)
	check(t, m.serve("--upstream=name=docker.io,url=http://"+way[0].Listen,
		fmt.Sprintf("--cache-max-size=%d", content.size/3), fmt.Sprintf("--cache-max-fills=%d", toxicClients)))
	crowd := newToxicCrowd(t, m, content)

	crowd.pullAll()
	crowd.part(way)
	before := m.settle(t)
	crowd.pullDuring(func() {
		for _, x := range toxins {
			crowd.endure(way, x)
		}
	})
	crowd.recover()
	crowd.meet(toxin{name: "no toxin any more"})
	crowd.pullAll()
	crowd.part(way)
	m.awaitLevels(t, before, 2)
	check(t, m.end(terminate)) // which fails when the race detector has found something
	way.stop()
}

// toxicCrowd is many clients that pull at the same time.
type toxicCrowd struct {
	*asker
	t *testing.T
	m *process

	mu               sync.Mutex // guards all below
	toxin            toxin
	complete, failed int // answers since it was met
}

func newToxicCrowd(t *testing.T, m *process, content *noise) *toxicCrowd {
	crowd := &toxicCrowd{t: t, m: m, toxin: toxin{name: "no toxin yet"}}
	crowd.asker = newAsker(content, m, crowd.note)
	return crowd
}

// note is told of each answer.
func (c *toxicCrowd) note(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case a.err == nil:
		c.complete++
	case errors.Is(a.err, context.Canceled): // the test has failed already
	case errors.Is(a.err, errWrong), errors.Is(a.err, errHung), !c.toxin.breaks:
		c.t.Errorf("%s: %v", c.toxin.name, a.err)
	default:
		c.failed++
	}
}

// meet begins the time of x.
func (c *toxicCrowd) meet(x toxin) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.toxin, c.complete, c.failed = x, 0, 0
}

// answers counts those since the toxin was met.
func (c *toxicCrowd) answers() (all, failed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.complete + c.failed, c.failed
}

// endure puts x on again and again, until it has struck often enough: connections
// that it has spared would be used for ever.
func (c *toxicCrowd) endure(way toxicWay, x toxin) {
	c.meet(x)
	asked, before := c.content.hub.Counters().Requests, c.faults()
	var answers, failed int
	var faults float64
	for strike := 0; answers < toxicAnswers || x.breaks && faults < toxicFaults; strike++ {
		if c.t.Failed() || strike == toxicStrikes {
			c.t.Fatalf("%s: %v faults in %d answers", x.name, faults, answers)
		}
		c.strike(way, x, answers+toxicAnswers/10)
		answers, failed = c.answers()
		faults = c.faults() - before
	}
	if c.content.hub.Counters().Requests == asked {
		c.t.Errorf("%s: the hub was not asked", x.name)
	}
	c.t.Logf("%s: %d answers, %d of them failed; %v faults", x.name, answers, failed, faults)
}

// strike puts x on until there was a number of answers and, if it breaks connections, one
// was lost, or for a second, and waits until mirrord has noticed that it is off.
func (c *toxicCrowd) strike(way toxicWay, x toxin, enough int) {
	remove := way.put(c.t, x)
	begun, before := time.Now(), c.faults()
	check(c.t, c.m.poll("answers: "+x.name, func() bool {
		answers, _ := c.answers()
		return answers >= enough && (!x.breaks || c.faults() > before) || time.Since(begun) > time.Second
	}))
	remove()
	check(c.t, c.m.poll("the end: "+x.name, func() bool {
		return c.m.metrics(c.t)[`mirrord_upstream_hosts_failing{upstream="docker.io"}`] == 0
	}))
}

// faults counts the connections to the hub that mirrord has lost.
func (c *toxicCrowd) faults() (n float64) {
	c.t.Helper()
	for series, value := range c.m.metrics(c.t) {
		if strings.HasPrefix(series, "mirrord_upstream_requests_total{") && strings.Contains(series, `status="error"`) ||
			strings.HasPrefix(series, "mirrord_upstream_body_resumes_total") {
			n += value
		}
	}
	return n
}

func (c *toxicCrowd) pullImage(i int) error {
	img := c.content.images[i]
	return c.pull(c.t.Context(), img.repo, "latest", img.versions...)
}

// pullAll pulls every image by five clients; what comes of it is noted.
func (c *toxicCrowd) pullAll() {
	var clients sync.WaitGroup
	for i := range toxicClients {
		clients.Go(func() {
			for k := range 3 {
				_ = c.pullImage((3*i + k) % toxicImages)
			}
		})
	}
	clients.Wait()
}

// pullDuring lets all clients pull while work is done.
func (c *toxicCrowd) pullDuring(work func()) {
	ctx, stop := context.WithCancel(c.t.Context())
	var clients sync.WaitGroup
	c.t.Cleanup(clients.Wait) // after work has ended the test, and so its context
	for i := range toxicClients {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for ctx.Err() == nil {
				if err := c.pullImage(rng.IntN(toxicImages)); err != nil {
					pause(ctx, 100*time.Millisecond)
				}
			}
		})
	}
	work()
	stop()
	clients.Wait()
}

// recover waits until every image can be pulled.
func (c *toxicCrowd) recover() {
	for i := range toxicImages {
		check(c.t, c.m.poll("a pull of "+c.content.images[i].repo, func() bool { return c.pullImage(i) == nil }))
	}
}

// part ends all connections, those of mirrord to the hub as well.
func (c *toxicCrowd) part(way toxicWay) {
	c.http.CloseIdleConnections()
	way.cut(c.t)
}
