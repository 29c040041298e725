package fleetprobe

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/keys"
)

// TestSecret finds that the first mirror's secret is that of the fleet, and that another
// one is accepted once the object is gone.
func TestSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		found := func(s keys.Secret) (*Prober, State) {
			p := New(Options{Bucket: m, Secret: s})
			run(t, p)
			state, err := p.Await(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return p, state
		}
		for range 2 {
			if _, s := found(secret(t, "the right")); !s.SecretOK || s.Secret != nil {
				t.Errorf("right secret: %+v", s)
			}
		}
		p, s := found(secret(t, "a wrong"))
		if s.SecretOK || !errors.Is(s.Secret, ErrSecret) {
			t.Errorf("wrong secret: %+v", s)
		}
		if _, s := found(keys.Secret{}); s.SecretOK || s.Secret != nil {
			t.Errorf("no secret: %+v", s)
		}
		if err := m.Delete(t.Context(), keys.Fleet); err != nil {
			t.Fatal(err)
		}
		time.Sleep(maxPause)
		synctest.Wait()
		if s := p.State(); !s.SecretOK || s.Secret != nil {
			t.Errorf("the first one now: %+v", s)
		}
	})
}

// TestSecretRace finds that of mirrors with two secrets which start at once those with one
// of them belong together.
func TestSecretRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		m.Faults = func(buckettest.Op, string) buckettest.Fault {
			return buckettest.Fault{Before: 10 * time.Millisecond, After: 10 * time.Millisecond}
		}
		ok := map[string]int{}
		all := map[*Prober]string{}
		for i := range 6 {
			name := []string{"the one", "the other"}[i%2]
			p := New(Options{Bucket: m, Secret: secret(t, name)})
			all[p] = name
			run(t, p)
		}
		for p, name := range all {
			if s, err := p.Await(t.Context()); err != nil {
				t.Error(err)
			} else if s.SecretOK {
				ok[name]++
			}
		}
		if len(ok) != 1 || ok["the one"]+ok["the other"] != 3 {
			t.Errorf("belong to the fleet: %v", ok)
		}
	})
}

// TestRotation finds that a fleet can change its secret, one mirror after the other.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		for _, step := range []struct {
			names []string
			ok    bool
		}{
			{[]string{"the old"}, true},
			{[]string{"the old", "the new"}, true},
			{[]string{"the old"}, true},
			{[]string{"the new", "the old"}, true},
			{[]string{"the old", "the new"}, true},
			{[]string{"the new", "the old"}, true},
			{[]string{"the new"}, true},
			{[]string{"the old"}, false},
		} {
			p := New(Options{Bucket: m, Secret: secret(t, step.names...)})
			run(t, p)
			if s, err := p.Await(t.Context()); err != nil || s.SecretOK != step.ok {
				t.Errorf("%q: %+v, %v", step.names, s, err)
			}
		}
	})
}

// TestNewerIdentity finds that the identity of a newer version is left alone and believed.
func TestNewerIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := buckettest.NewMemory()
		etag, err := m.Put(t.Context(), keys.Fleet, []byte(`{"v":2,"other":1}`), bucket.Cond{})
		if err != nil {
			t.Fatal(err)
		}
		p := New(Options{Bucket: m, Secret: secret(t, "some long")})
		run(t, p)
		if s, err := p.Await(t.Context()); err != nil || !s.SecretOK {
			t.Errorf("state %+v, %v", s, err)
		}
		o, err := m.Get(t.Context(), keys.Fleet, 0, etag)
		if err != nil {
			t.Fatal(err)
		}
		_ = o.Body.Close()
	})
}

// TestForeignObject finds that whatever is in the place of the identity is not overwritten.
func TestForeignObject(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "other": "<html>", "large": strings.Repeat(" ", 2*maxObject) + "{}", "no check": `{"v":1}`} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := buckettest.NewMemory()
				etag, err := m.Put(t.Context(), keys.Fleet, []byte(content), bucket.Cond{})
				if err != nil {
					t.Fatal(err)
				}
				p := New(Options{Bucket: m, Secret: secret(t, "some long")})
				run(t, p)
				if s, err := p.Await(t.Context()); err != nil || s.SecretOK || !errors.Is(s.Secret, ErrSecret) {
					t.Errorf("state %+v, %v", s, err)
				}
				o, err := m.Get(t.Context(), keys.Fleet, 0, etag)
				if err != nil {
					t.Fatal(err)
				}
				_ = o.Body.Close()
			})
		})
	}
}
