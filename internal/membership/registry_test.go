package membership

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noIndex remembers nothing.
type noIndex struct{}

func (noIndex) Members() iter.Seq2[Record, error]         { return func(func(Record, error) bool) {} }
func (noIndex) UpdateMembers(_, _ []Record) error         { return nil }
func denied(ocitest.Call) error                           { return oci.Errorf(oci.Denied, "private") }
func nobody(context.Context, string, string, string) bool { return false }

func always(string) bool { return true }
func byRules() Policy    { return Rules }

// A login may be found while a request is in flight: what that brings is not served
// before it is known to be public.
func TestLoginFoundMeanwhile(t *testing.T) {
	next, anonymous := new(ocitest.Fake), new(ocitest.Fake)
	layer := ocitest.BlobRef(t, next.AddBlob(ocitest.Repo, []byte("secret")))
	anonymous.Fail(denied)
	for name, ask := range map[string]func(r *Registry) error{
		"resolve": func(r *Registry) error { _, err := r.Resolve(t.Context(), layer); return err },
		"open": func(r *Registry) error {
			content, err := r.Open(t.Context(), layer)
			if err == nil {
				_ = content.Close()
			}
			return err
		},
		"list": func(r *Registry) error {
			q, err := oci.ParseTags(ocitest.Upstream, ocitest.Repo, "")
			if err == nil {
				_, err = r.List(t.Context(), q)
			}
			return err
		},
	} {
		asked := 0
		r := New(Options{
			Next: next, Upstreams: next, Anonymous: map[string]oci.Registry{ocitest.Upstream: anonymous}, Index: noIndex{}, Grants: nobody,
			LoggedIn: func() bool { asked++; return asked > 1 }, MayLogIn: always, Policy: byRules,
		})
		if err := ask(r); oci.CodeOf(err) != oci.Denied {
			t.Errorf("%s: %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = r.Run(ctx)
	}
}

// Without a login nothing is asked, and nothing withheld.
func TestNoLogin(t *testing.T) {
	next, anonymous := new(ocitest.Fake), new(ocitest.Fake)
	layer := ocitest.BlobRef(t, next.AddBlob(ocitest.Repo, []byte("open")))
	r := New(Options{
		Next: next, Upstreams: next, Anonymous: map[string]oci.Registry{ocitest.Upstream: anonymous}, Index: noIndex{},
		LoggedIn: func() bool { return false }, MayLogIn: always, Policy: byRules,
	})
	if _, err := r.Resolve(t.Context(), layer); err != nil || !r.Visible(t.Context(), ocitest.Upstream, ocitest.Repo) {
		t.Error(err)
	}
	if anonymous.Calls("Resolve", layer.Reference()) != 0 {
		t.Error("the upstream was asked")
	}
}

// Private content stays private when the login for it has been removed.
func TestLoginRemoved(t *testing.T) {
	next, anonymous := new(ocitest.Fake), new(ocitest.Fake)
	layer := ocitest.BlobRef(t, next.AddBlob(ocitest.Repo, []byte("secret")))
	anonymous.Fail(denied)
	index := &recorded{known: []Record{{Upstream: ocitest.Upstream, Repository: ocitest.Repo, Digest: layer.Digest()}}}
	r := New(Options{
		Next: next, Upstreams: next, Anonymous: map[string]oci.Registry{ocitest.Upstream: anonymous}, Index: index, Grants: nobody,
		LoggedIn: func() bool { return false }, MayLogIn: always, Policy: byRules,
	})
	if _, err := r.Open(t.Context(), layer); oci.CodeOf(err) != oci.Denied || r.Visible(t.Context(), ocitest.Upstream, ocitest.Repo) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = r.Run(ctx)
}

// What was fetched while everybody got private content is not public after that, even if
// the login is removed at the same time.
func TestAllowedBefore(t *testing.T) {
	next, anonymous := new(ocitest.Fake), new(ocitest.Fake)
	layer := ocitest.BlobRef(t, next.AddBlob(ocitest.Repo, []byte("secret")))
	anonymous.Fail(denied)
	index := &recorded{}
	for _, policy := range []Policy{Allow, Rules} {
		r := New(Options{
			Next: next, Upstreams: next, Anonymous: map[string]oci.Registry{ocitest.Upstream: anonymous}, Index: index, Grants: nobody,
			LoggedIn: func() bool { return policy == Allow }, MayLogIn: always, Policy: func() Policy { return policy },
		})
		if _, err := r.Resolve(t.Context(), layer); (err == nil) != (policy == Allow) {
			t.Errorf("policy %d: %v", policy, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = r.Run(ctx)
	}
}

// A clock that has been set back does not make what is known last.
func TestWithin(t *testing.T) {
	for age, want := range map[time.Duration]bool{0: true, 59 * time.Second: true, time.Hour: false, -time.Hour: false} {
		if within(time.Now().Add(-age), time.Minute) != want {
			t.Errorf("%s ago: %v", age, !want)
		}
	}
}

// What was known is served while the upstream is unavailable, but not to a client that makes
// it refuse the request, by naming mirrors in Via.
func TestLoopIsNoOutage(t *testing.T) {
	outage := oci.Errorf(oci.Unavailable, "down")
	loop := oci.Errorf(oci.Unavailable, "%w", oci.ErrLoop)
	for _, test := range []struct {
		known  Record
		err    error
		served bool
	}{
		{Record{Public: true, Checked: time.Now().Add(-time.Hour)}, outage, true},
		{Record{Public: true, Checked: time.Now().Add(-time.Hour)}, loop, false},
		{Record{Checked: time.Now(), Allowed: time.Now().Add(-time.Hour)}, outage, true},
		{Record{Checked: time.Now(), Allowed: time.Now().Add(-time.Hour)}, loop, false},
	} {
		next, upstream := new(ocitest.Fake), new(ocitest.Fake)
		layer := ocitest.BlobRef(t, next.AddBlob(ocitest.Repo, []byte("content")))
		upstream.Fail(func(ocitest.Call) error { return test.err })
		test.known.Upstream, test.known.Repository = ocitest.Upstream, ocitest.Repo
		member := Record{Upstream: ocitest.Upstream, Repository: ocitest.Repo, Digest: layer.Digest()}
		r := New(Options{
			Next: next, Upstreams: upstream, Anonymous: map[string]oci.Registry{ocitest.Upstream: upstream},
			LoggedIn: func() bool { return true }, MayLogIn: always, Policy: byRules,
			Grants: func(context.Context, string, string, string) bool { return !test.known.Public },
			Limits: Limits{Fresh: time.Minute, MaxStale: 24 * time.Hour}, Index: &recorded{known: []Record{test.known, member, {Digest: layer.Digest()}}},
		})
		content, err := r.Open(t.Context(), layer)
		if (err == nil) != test.served {
			t.Errorf("%+v: %v", test, err)
		}
		if err == nil {
			_ = content.Close()
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = r.Run(ctx)
	}
}

// That there is private content is in the index at once: after a crash and without the login
// it would be taken for public.
func TestFirstPrivateContent(t *testing.T) {
	index := &recorded{}
	f := newFacts(index, 10, nil)
	f.put(fact{upstream: "u", repository: "public"}, state{public: true})
	if index.put != 0 {
		t.Errorf("%d facts are written at once", index.put)
	}
	f.put(fact{"u", "private", oci.FromBytes([]byte("a"))}, state{})
	if index.put != 2 {
		t.Errorf("%d facts are written, want both", index.put)
	}
	f.put(fact{"u", "private", oci.FromBytes([]byte("b"))}, state{})
	if index.put != 2 {
		t.Errorf("%d facts are written, want the third later", index.put)
	}
}

// The facts that are used least are forgotten, in the index as well.
func TestFactsAreBounded(t *testing.T) {
	index := &recorded{}
	const most = 1000
	f := newFacts(index, most, nil)
	f.put(fact{upstream: "u", repository: "first"}, state{public: true})
	f.flush()
	for i := range most {
		f.put(fact{digest: oci.FromBytes([]byte{byte(i), byte(i >> 8)})}, state{})
	}
	f.flush()
	if _, ok := f.get(fact{upstream: "u", repository: "first"}); ok || len(index.removed) != 1 || index.removed[0].Repository != "first" {
		t.Errorf("known: %v, removed: %+v", ok, index.removed)
	}
	if index.put != most+1 {
		t.Errorf("%d written", index.put)
	}
}

// Repositories that somebody invents make the mirror forget nothing that it needs.
func TestInventedRepositories(t *testing.T) {
	index := &recorded{}
	f := newFacts(index, 10, nil)
	real := fact{upstream: "u", repository: "real"}
	f.put(real, state{public: true})
	private := fact{upstream: "u", repository: "private"}
	f.noteRefused(private)
	f.update(private, func(s *state) { s.allowed = time.Now() })
	for i := range 100 {
		f.noteRefused(fact{upstream: "u", repository: fmt.Sprint("invented", i)})
	}
	f.flush()
	if s, ok := f.get(real); !ok || !s.public || index.put != 2 || len(index.removed) != 0 {
		t.Errorf("known: %v, written: %d, removed: %+v", ok, index.put, index.removed)
	}
	if s, ok := f.get(private); !ok || s.checked.IsZero() || s.allowed.IsZero() {
		t.Errorf("private: %v, %+v", ok, s)
	}
	invented := fact{upstream: "u", repository: "invented99"}
	f.noteAsked(invented)
	if s, ok := f.get(invented); !ok || s.public || s.checked.IsZero() || s.asked.IsZero() {
		t.Errorf("invented: %v, %+v", ok, s)
	}
	f.noteRefused(real)
	if s, _ := f.get(real); s.public {
		t.Error("a repository that is refused stays public")
	}
}

type recorded struct {
	known   []Record
	put     int
	removed []Record
}

func (r *recorded) Members() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, k := range r.known {
			if !yield(k, nil) {
				return
			}
		}
	}
}

func (r *recorded) UpdateMembers(put, remove []Record) error {
	r.put += len(put)
	r.known = append(r.known, put...)
	r.removed = append(r.removed, remove...)
	return nil
}
