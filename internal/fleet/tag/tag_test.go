package tag_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/tag"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func TestContract(t *testing.T) {
	ocitest.Run(t, func(t *testing.T, fake *ocitest.Fake) oci.Registry {
		return start(t, fake, buckettest.NewMemory())
	})
}

const window = 10 * time.Minute

func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		first, second := start(t, fake, memory), start(t, fake, memory)
		old := push(fake, 1)
		asked := time.Now()
		told := want(t, first, window, old, oci.Pass)
		synctest.Wait()
		<-time.After(time.Minute)
		push(fake, 2)
		got := want(t, second, window, old, oci.Shared)
		if got.Descriptor != told.Descriptor || !got.Checked.Equal(asked) {
			t.Errorf("shared as %+v, checked at %s; want %+v at %s", got.Descriptor, got.Checked, told.Descriptor, asked)
		}
		wantAsked(t, fake, 1)
		for r, want := range map[*tag.Registry]tag.Lookup{first: tag.Absent, second: tag.Used} {
			if n := r.Stats(); len(n) != 1 || n[want] != 1 {
				t.Errorf("lookups %v, want one that is %s", n, want)
			}
		}
	})
}

// Another mirror's response is used for ten seconds less than one's own, and then replaced.
func TestWindow(t *testing.T) {
	for age, via := range map[time.Duration]oci.Via{
		0: oci.Shared, window - tag.Margin - time.Second: oci.Shared, window - tag.Margin: oci.Pass, window: oci.Pass,
	} {
		synctest.Test(t, func(t *testing.T) {
			fake, memory := new(ocitest.Fake), buckettest.NewMemory()
			first, second := start(t, fake, memory), start(t, fake, memory)
			d := push(fake, 1)
			want(t, first, window, d, oci.Pass)
			synctest.Wait()
			<-time.After(age)
			if via == oci.Pass {
				d = push(fake, 2)
			}
			want(t, second, window, d, via)
			synctest.Wait()
			want(t, first, window, d, oci.Shared)
			if n := second.Stats()[tag.Stale]; (n == 1) != (via == oci.Pass) {
				t.Errorf("%d were too old at %s", n, age)
			}
		})
	}
}

// Who demands the upstream's word gets it, and tells the others.
func TestDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		first, second := start(t, fake, memory), start(t, fake, memory)
		want(t, first, window, push(fake, 1), oci.Pass)
		synctest.Wait()
		newer := push(fake, 2)
		want(t, second, 0, newer, oci.Pass)
		synctest.Wait()
		want(t, first, window, newer, oci.Shared)
		if n := second.Stats(); len(n) != 0 {
			t.Errorf("lookups %v of who would use none", n)
		}
	})
}

// What was said too long ago is not written.
func TestSlowUpstream(t *testing.T) {
	for took, written := range map[time.Duration]bool{4 * time.Second: true, 6 * time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			fake, memory := new(ocitest.Fake), buckettest.NewMemory()
			asked := time.Now()
			want(t, start(t, slow{fake, took}, memory), window, push(fake, 1), oci.Pass)
			synctest.Wait()
			if got := raw(t, memory) != nil; got != written {
				t.Errorf("written %v after %s", got, took)
			}
			if !written {
				return
			}
			if got := want(t, start(t, fake, memory), window, push(fake, 1), oci.Shared); !got.Checked.Equal(asked) {
				t.Errorf("it counts from %s after the request", got.Checked.Sub(asked))
			}
		})
	}
}

// slow is an upstream whose responses take that long to arrive.
type slow struct {
	oci.Registry
	response time.Duration
}

func (s slow) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	result, err := s.Registry.Resolve(ctx, ref)
	<-time.After(s.response)
	return result, err
}

// An older response is never written over a newer one, nor is that tried again.
func TestOlderIsNotWritten(t *testing.T) {
	for _, before := range []bool{false, true} { // whether there was an object
		synctest.Test(t, func(t *testing.T) {
			fake, memory := new(ocitest.Fake), buckettest.NewMemory()
			first, second := start(t, slow{fake, 3 * time.Second}, memory), start(t, fake, memory)
			old := push(fake, 1)
			if before {
				want(t, second, 0, old, oci.Pass)
				synctest.Wait()
			}
			writes := memory.Counts()[buckettest.Put]
			var asking sync.WaitGroup
			asking.Go(func() { want(t, first, 0, old, oci.Pass) })
			synctest.Wait()
			newer := push(fake, 2)
			want(t, second, 0, newer, oci.Pass)
			asking.Wait()
			synctest.Wait()
			if n := memory.Counts()[buckettest.Put] - writes; n != 2 {
				t.Errorf("%d writes, want one of each", n)
			}
			want(t, start(t, fake, memory), window, newer, oci.Shared)
		})
	}
}

// One that is written late is as old as the upstream's response.
func TestLateWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		memory.Faults = func(op buckettest.Op, _ string) buckettest.Fault {
			if op == buckettest.Put {
				return buckettest.Fault{Err: errors.New("lost"), Applied: true}
			}
			return buckettest.Fault{}
		}
		asked := time.Now()
		d := push(fake, 1)
		want(t, start(t, fake, memory), window, d, oci.Pass)
		synctest.Wait()
		memory.Faults = nil
		late := raw(t, memory)
		<-time.After(time.Minute)
		replace(t, memory, late)
		if got := want(t, start(t, fake, memory), window, d, oci.Shared); !got.Checked.Equal(asked) {
			t.Errorf("it counts from %s after the request", got.Checked.Sub(asked))
		}
	})
}

// What is not for all mirrors is neither read nor written.
func TestNotShared(t *testing.T) {
	for name, test := range map[string]struct {
		reference string
		change    func(*tag.Options)
	}{
		"private":   {"v1", func(o *tag.Options) { o.Shares = func(oci.Ref) bool { return false } }},
		"signature": {"sha256-" + oci.FromBytes(nil).Encoded() + ".sig", nil},
		"digest":    {oci.FromBytes([]byte("{}")).String(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			fake, memory := new(ocitest.Fake), buckettest.NewMemory()
			ref := ocitest.ManifestRef(t, test.reference)
			fake.AddManifest(ocitest.Repo, ref.Tag(), "application/json", []byte("{}"))
			o := options(t, fake, memory)
			if test.change != nil {
				test.change(&o)
			}
			synctest.Test(t, func(t *testing.T) {
				if _, err := run(t, o).Resolve(oci.WithMaxAge(t.Context(), window), ref); err != nil {
					t.Error(err)
				}
				synctest.Wait()
			})
			if n := memory.Counts(); len(n) > 0 {
				t.Errorf("requests to the bucket: %v", n)
			}
		})
	}
}

// While the store does not tell ages, nothing is shared.
func TestNoAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		r := start(t, fake, memory)
		r.SetAges(false)
		want(t, r, window, push(fake, 1), oci.Pass)
		if n := memory.Counts(); len(n) > 0 || r.Shared(ocitest.ManifestRef(t, "v1")) {
			t.Errorf("requests to the bucket: %v", n)
		}
		r.SetAges(true)
		want(t, r, window, push(fake, 1), oci.Pass)
		synctest.Wait()
		want(t, r, window, push(fake, 1), oci.Shared)
	})
}

// A repository that is private by the time of the response is not written.
func TestPrivateMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		public := true
		o := options(t, fake, memory)
		o.Shares = func(oci.Ref) bool { return public }
		fake.Fail(func(ocitest.Call) error { public = false; return nil })
		want(t, run(t, o), window, push(fake, 1), oci.Pass)
		synctest.Wait()
		if n := memory.Counts()[buckettest.Put]; n != 0 {
			t.Errorf("%d writes", n)
		}
	})
}

// staleUpstream is a mirror whose upstream is unavailable.
type staleUpstream struct{ oci.Registry }

func (s staleUpstream) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	result, err := s.Registry.Resolve(ctx, ref)
	result.Via, result.Reason, result.Checked = oci.Stale, oci.StaleUnavailable, time.Now()
	return result, err
}

// What is not the upstream's word of now is not written.
func TestNotTheUpstreamsWord(t *testing.T) {
	for name, upstream := range map[string]func(*ocitest.Fake) oci.Registry{
		"deleted": func(f *ocitest.Fake) oci.Registry { f.RemoveTag(ocitest.Repo, "v1"); return f },
		"down": func(f *ocitest.Fake) oci.Registry {
			f.Fail(func(ocitest.Call) error { return oci.Errorf(oci.Unavailable, "down") })
			return f
		},
		"stale": func(f *ocitest.Fake) oci.Registry { return staleUpstream{f} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, memory := new(ocitest.Fake), buckettest.NewMemory()
				push(fake, 1)
				result, err := start(t, upstream(fake), memory).Resolve(oci.WithMaxAge(t.Context(), window), ocitest.ManifestRef(t, "v1"))
				synctest.Wait()
				if n := memory.Counts()[buckettest.Put]; n != 0 || (err == nil) != (name == "stale") {
					t.Errorf("%d writes, %+v, %v", n, result, err)
				}
			})
		})
	}
}

// A bucket that fails costs a second at most, and then nothing.
func TestFailingBucket(t *testing.T) {
	for name, fault := range map[string]buckettest.Fault{
		"fails": {Err: errors.New("broken")}, "hangs": {Before: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, memory := new(ocitest.Fake), buckettest.NewMemory()
				memory.Faults = func(buckettest.Op, string) buckettest.Fault { return fault }
				d := push(fake, 1)
				r := start(t, fake, memory)
				for range 10 {
					begun := time.Now()
					want(t, r, window, d, oci.Pass)
					if took := time.Since(begun); took > time.Second {
						t.Errorf("it took %s", took)
					}
					<-time.After(300 * time.Millisecond)
				}
				if n := memory.Counts()[buckettest.Get]; n != 5 {
					t.Errorf("%d reads of a bucket that fails, want 5", n)
				}
				if n := r.Stats()[tag.Failed]; n != 10 {
					t.Errorf("%d lookups failed, want all", n)
				}
				if n := memory.Counts()[buckettest.Put]; n > 0 {
					t.Errorf("%d writes over what could not be read", n)
				}
			})
		})
	}
}

// A caller that leaves has no request sent to the upstream.
func TestCallerLeaves(t *testing.T) {
	fake, memory := new(ocitest.Fake), buckettest.NewMemory()
	push(fake, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := start(t, fake, memory).Resolve(ctx, ocitest.ManifestRef(t, "v1")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wantAsked(t, fake, 0)
}
