package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mirrord/internal/config"
	"mirrord/internal/hubsim"
	"mirrord/test/smalldisk"
)

// hungInterval is that of a watchdog whose mirror is expected to be silent.
const hungInterval = 2 * time.Second

// A lock that is never released ends the signs of life, whichever it is of those that
// requests need.
func TestWatchdogOfHeldLock(t *testing.T) {
	for name, lock := range map[string]func(*daemon) *sync.Mutex{
		"cache": func(d *daemon) *sync.Mutex { return mutexOf(d.mirror.Cache) },
		"tags":  func(d *daemon) *sync.Mutex { return mutexOf(d.mirror.Tags) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newMirror(t)
			n := p.notified(t, hungInterval)
			for _, variable := range p.env {
				key, value, _ := strings.Cut(variable, "=")
				t.Setenv(key, value)
			}
			d := buildFor(t, p)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- d.run(ctx, func() {}, zap.NewNop(), false) }()
			n.want(t, func() string { return "" }, "READY=1", "WATCHDOG=1")
			held := lock(d)
			held.Lock()
			n.silent(t, hungInterval)
			held.Unlock()
			n.want(t, func() string { return "" }, "WATCHDOG=1")
			stop()
			check(t, <-ended)
			check(t, d.close())
		})
	}
}

// buildFor builds the daemon of p in this process.
func buildFor(t *testing.T, p *process) *daemon {
	t.Helper()
	load := func() (*config.Config, error) {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		config.AddFlags(flags)
		if err := flags.Parse([]string{"--listen", p.mirror, "--admin-listen", p.admin, "--cache-dir", p.cache, "--cache-min-free=0", "--quota-probe=0s"}); err != nil {
			return nil, err
		}
		return config.Load(flags, nil)
	}
	cfg, err := load()
	check(t, err)
	d, err := build(cfg, load, nil, zap.NewNop(), zap.NewAtomicLevel())
	check(t, err)
	return d
}

// mutexOf returns the field mu of what v points to, which its package keeps to itself.
func mutexOf(v any) *sync.Mutex {
	return (*sync.Mutex)(reflect.ValueOf(v).Elem().FieldByName("mu").Addr().UnsafePointer())
}

// silent fails the test unless there is no sign of life for an interval, soon.
func (n notifications) silent(t *testing.T, interval time.Duration) {
	t.Helper()
	for range 4 { // sent before
		if n.next(t, interval) == "" {
			return
		}
	}
	t.Fatal("there are signs of life")
}

// A disk that hangs is no reason to end a mirror, nor is an upstream that does not
// respond: a restart would mend neither.
func TestWatchdogOfHungDiskAndUpstream(t *testing.T) {
	c, m := newCatalog(t), newMirror(t)
	c.addLayers(t, "library/cached", 2, 100_000, 1)
	disk := smalldisk.Image(t, "ext4")
	m.cache = filepath.Join(disk, "cache")
	n := m.notified(t, busyInterval)
	check(t, m.serve(c.upstream()))
	n.want(t, m.text, "READY=1")
	c.pullAll(t, m)
	c.addLayers(t, "library/slow", 2, 100_000, 2)
	c.addLayers(t, "library/new", 2, 100_000, 3)
	respond := c.hub.Inject(hubsim.Fault{Match: "library/slow", Latency: time.Hour})
	thaw := freeze(t, disk)
	var pulls errgroup.Group
	for _, repo := range []string{"library/cached", "library/slow", "library/new"} {
		p := puller{base: "http://" + m.mirror + "/v2/" + repo}
		pulls.Go(func() error { return p.pull("latest") })
	}
	n.alive(t, 2*busyInterval, busyInterval)
	respond()
	thaw()
	_ = pulls.Wait() // those that took too long have failed
	c.pullAll(t, m)
}

// freeze makes what is written to a file system hang until thaw, at the latest until the
// end of the test.
func freeze(t *testing.T, dir string) (thaw func()) {
	t.Helper()
	if out, err := exec.Command("fsfreeze", "--freeze", dir).CombinedOutput(); err != nil {
		t.Skipf("no disk can be made to hang here: %v %s", err, out)
	}
	thaw = sync.OnceFunc(func() {
		if out, err := exec.Command("fsfreeze", "--unfreeze", dir).CombinedOutput(); err != nil {
			t.Errorf("%v %s", err, out)
		}
	})
	t.Cleanup(thaw)
	return thaw
}
