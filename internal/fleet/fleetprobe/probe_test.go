package fleetprobe

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/bucket/s3"
	"mirrord/internal/fleet/keys"
	"mirrord/test/objectstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var full = Capabilities{Conditions: true, SecretOK: true, Ages: true, Touch: true}

// secret returns a secret that has that name, after the previous one if there is one.
func secret(t *testing.T, names ...string) keys.Secret {
	t.Helper()
	s, err := keys.ReadSecret(strings.NewReader(strings.Join(names, " secret of the fleet\n") + " secret of the fleet\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStores finds that what a store lacks is found.
func TestStores(t *testing.T) {
	without := func(what func(*Capabilities)) Capabilities {
		c := full
		what(&c)
		return c
	}
	noConditions := without(func(c *Capabilities) { c.Conditions = false })
	for name, test := range map[string]struct {
		store func(m *buckettest.Memory) bucket.Bucket
		want  Capabilities
		lack  string
	}{
		"full": {func(m *buckettest.Memory) bucket.Bucket { return m }, full, ""},
		"ignores If-None-Match": {func(m *buckettest.Memory) bucket.Bucket {
			return odd{Memory: m, put: func(c bucket.Cond, _ int) bucket.Cond {
				if c.Absent() {
					c = bucket.Cond{}
				}
				return c
			}}
		}, noConditions, "must be absent"},
		"ignores If-Match": {func(m *buckettest.Memory) bucket.Bucket {
			return odd{Memory: m, put: func(c bucket.Cond, _ int) bucket.Cond {
				if c.ETag() != "" {
					c = bucket.Cond{}
				}
				return c
			}}
		}, noConditions, "not the expected one"},
		"creates under If-Match": {func(m *buckettest.Memory) bucket.Bucket { return creates{m} }, noConditions, "must be there already"},
		"racy": {func(m *buckettest.Memory) bucket.Bucket {
			return odd{Memory: m, count: new(counter), put: func(c bucket.Cond, n int) bucket.Cond {
				if n == 7 { // in the first race
					c = bucket.Cond{}
				}
				return c
			}}
		}, noConditions, "more than one succeeds"},
		"knows no conditions": {func(m *buckettest.Memory) bucket.Bucket {
			m.Faults = func(op buckettest.Op, _ string) (f buckettest.Fault) { return f }
			return refusing{m}
		}, noConditions, "is refused"},
		"loses writes": {func(m *buckettest.Memory) bucket.Bucket { return forgetful{m} }, noConditions, "is not there"},
		"does not touch": {func(m *buckettest.Memory) bucket.Bucket {
			m.Faults = func(op buckettest.Op, _ string) (f buckettest.Fault) {
				if op == buckettest.Touch {
					f.Err = bucket.ErrUnsupported
				}
				return f
			}
			return m
		}, without(func(c *Capabilities) { c.Touch = false }), ""},
		"a clock behind":   {func(m *buckettest.Memory) bucket.Bucket { return skewed{m, -time.Hour} }, without(func(c *Capabilities) { c.Ages = false }), ""},
		"a clock in front": {func(m *buckettest.Memory) bucket.Bucket { return skewed{m, time.Hour} }, without(func(c *Capabilities) { c.Ages = false }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := buckettest.NewMemory()
				p := New(Options{Bucket: test.store(m), Secret: secret(t, "some long")})
				run(t, p)
				s, err := p.Await(t.Context())
				if err != nil || s.Capabilities != test.want {
					t.Errorf("found %+v, %v, want %+v", s.Capabilities, err, test.want)
				}
				if s.Lack != nil && !errors.Is(s.Lack, ErrConditions) || (test.lack == "") != (s.Lack == nil) {
					t.Errorf("lacks: %v", s.Lack)
				}
				if test.lack != "" && !strings.Contains(s.Lack.Error(), test.lack) {
					t.Errorf("lacks %q, want %q", s.Lack, test.lack)
				}
				wantNothingLeft(t, m)
			})
		})
	}
}

func wantNothingLeft(t *testing.T, m *buckettest.Memory) {
	t.Helper()
	for info, err := range m.List(t.Context(), Prefix) {
		t.Errorf("left behind: %s %v", info.Key, err)
	}
}

// run runs p until the test ends.
func run(t *testing.T, p *Prober) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

// odd changes the conditions of puts; the second argument counts them.
type odd struct {
	*buckettest.Memory
	count *counter
	put   func(bucket.Cond, int) bucket.Cond
}

func (o odd) Put(ctx context.Context, key string, data []byte, c bucket.Cond) (string, error) {
	n := 0
	if o.count != nil {
		n = o.count.next()
	}
	return o.Memory.Put(ctx, key, data, o.put(c, n))
}

// creates creates an object that must be there already.
type creates struct{ *buckettest.Memory }

func (b creates) Put(ctx context.Context, key string, data []byte, c bucket.Cond) (string, error) {
	if o, err := b.Get(ctx, key, 0, ""); err == nil {
		_ = o.Body.Close()
	} else if c.ETag() != "" {
		c = bucket.Cond{}
	}
	return b.Memory.Put(ctx, key, data, c)
}

// refusing knows no conditions.
type refusing struct{ *buckettest.Memory }

func (b refusing) Put(ctx context.Context, key string, data []byte, c bucket.Cond) (string, error) {
	if c != (bucket.Cond{}) {
		return "", bucket.ErrUnsupported
	}
	return b.Memory.Put(ctx, key, data, c)
}

// forgetful has no object that was created under a condition.
type forgetful struct{ *buckettest.Memory }

func (b forgetful) Put(ctx context.Context, key string, data []byte, c bucket.Cond) (string, error) {
	if c.Absent() {
		return "etag", nil
	}
	return b.Memory.Put(ctx, key, data, c)
}

// skewed has two clocks.
type skewed struct {
	*buckettest.Memory
	by time.Duration
}

func (b skewed) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	o, err := b.Memory.Get(ctx, key, from, etag)
	if err == nil {
		o.Age = max(0, o.Age+b.by)
	}
	return o, err
}

// TestUnreachable finds that a bucket which fails is probed until it works.
func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		broken := errors.New("connection refused")
		until := time.Now().Add(time.Hour)
		m.Faults = func(buckettest.Op, string) (f buckettest.Fault) {
			if time.Now().Before(until) {
				f.Err = broken
			}
			return f
		}
		var reported []error
		p := New(Options{Bucket: m, Hooks: Hooks{Failed: func(err error) { reported = append(reported, err) }}})
		run(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if s, err := p.AwaitBasics(ctx); !errors.Is(err, broken) || s.Basics || s.Done {
			t.Errorf("state %+v, %v", s, err)
		}
		if _, err := p.Await(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(until); took > maxPause+settleTime {
			t.Errorf("found only %v after the bucket was back", took)
		}
		if n := m.Counts()[buckettest.Put]; n > 60 {
			t.Errorf("%d puts in an hour", n)
		}
		if len(reported) != 1 || p.State().Failure != nil {
			t.Errorf("reported %v, state %+v", reported, p.State())
		}
		if want := (Capabilities{Conditions: true, Ages: true, Touch: true}); p.Capabilities() != want {
			t.Errorf("found %+v, want %+v", p.Capabilities(), want)
		}
	})
}

// TestLostResponses finds that writes which were applied although they fail do not make a
// store seem to lack conditions.
func TestLostResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		var n counter
		m.Faults = func(op buckettest.Op, _ string) (f buckettest.Fault) {
			if op == buckettest.Put {
				if i := n.next(); i%7 == 1 && i < 40 {
					f = buckettest.Fault{Err: io.ErrUnexpectedEOF, Applied: true}
				}
			}
			return f
		}
		p := New(Options{Bucket: m, Secret: secret(t, "some long")})
		run(t, p)
		if s, err := p.Await(t.Context()); err != nil || s.Capabilities != full {
			t.Errorf("found %+v, %v", s, err)
		}
		wantNothingLeft(t, m)
	})
}

// TestVersitygw finds what a real store can.
func TestVersitygw(t *testing.T) {
	store, err := objectstore.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Stop() })
	endpoint, err := url.Parse(store.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	b, err := s3.New(s3.Options{
		Endpoint: endpoint, Bucket: objectstore.Bucket, Region: objectstore.Region, PathStyle: true, Prefix: "office/",
		AccessKey: objectstore.AccessKey, SecretKey: objectstore.SecretKey, Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := New(Options{Bucket: b, Secret: secret(t, "some long")})
	run(t, p)
	s, err := p.Await(t.Context())
	if err != nil || s.Capabilities != full {
		t.Errorf("found %+v, %v, want %+v", s, err, full)
	}
	for info, err := range b.List(t.Context(), Prefix) {
		t.Errorf("left behind: %+v %v", info, err)
	}
}
