package membership

import (
	"context"
	"testing"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// What cannot be taken back is public only if the upstream shows it without a login now:
// not because the login is removed since, nor because the repository was public before.
func TestIsPublic(t *testing.T) {
	for name, test := range map[string]struct {
		known    Record
		mayLogIn bool
		err      error
		public   bool
		failed   bool
	}{
		"shown":               {Record{Upstream: unguarded.upstream, Digest: unguarded.digest}, true, nil, true, false},
		"login removed":       {Record{Upstream: unguarded.upstream, Digest: unguarded.digest}, false, denied(ocitest.Call{}), false, false},
		"public a moment ago": {Record{Upstream: ocitest.Upstream, Repository: ocitest.Repo, Public: true, Checked: time.Now()}, true, denied(ocitest.Call{}), false, false},
		"not known":           {Record{Upstream: ocitest.Upstream, Repository: ocitest.Repo, Public: true, Checked: time.Now()}, true, oci.Errorf(oci.Unavailable, "down"), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			anonymous := new(ocitest.Fake)
			layer := ocitest.BlobRef(t, anonymous.AddBlob(ocitest.Repo, []byte("content")))
			anonymous.Fail(func(ocitest.Call) error { return test.err })
			r := New(Options{
				Next: anonymous, Upstreams: anonymous, Anonymous: map[string]oci.Registry{ocitest.Upstream: anonymous}, Index: &recorded{known: []Record{test.known}},
				LoggedIn: func() bool { return test.mayLogIn }, MayLogIn: func(string) bool { return test.mayLogIn }, Policy: func() Policy { return Allow },
			})
			public, err := r.IsPublic(t.Context(), layer)
			if public != test.public || (err != nil) != test.failed {
				t.Errorf("public %v, %v", public, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = r.Run(ctx)
		})
	}
}

// What is not known counts as private, unless there is no login, and nothing is sent.
func TestKnownPublic(t *testing.T) {
	record := func(public bool, age time.Duration) []Record {
		return []Record{{Upstream: ocitest.Upstream, Repository: ocitest.Repo, Public: public, Checked: time.Now().Add(-age)}}
	}
	for name, test := range map[string]struct {
		known              []Record
		mayLogIn, loggedIn bool
		public             bool
	}{
		"no login":              {nil, false, true, true},
		"not known":             {nil, true, true, false},
		"no login was sent":     {nil, true, false, true},
		"one was sent earlier":  {[]Record{{Upstream: unguarded.upstream, Digest: unguarded.digest}}, true, false, false},
		"public":                {record(true, time.Minute), true, true, true},
		"public once":           {record(true, time.Hour), true, true, false},
		"private":               {record(false, time.Second), true, true, false},
		"private, no login now": {record(false, time.Second), false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			fake := new(ocitest.Fake)
			fake.Fail(func(c ocitest.Call) error { t.Errorf("the upstream is asked: %v", c); return nil })
			r := New(Options{
				Next: fake, Upstreams: fake, Anonymous: map[string]oci.Registry{ocitest.Upstream: fake}, Index: &recorded{known: test.known},
				LoggedIn: func() bool { return test.loggedIn }, MayLogIn: func(string) bool { return test.mayLogIn }, Policy: func() Policy { return Deny },
			})
			if got := r.KnownPublic(ocitest.Upstream, ocitest.Repo); got != test.public {
				t.Errorf("public %v", got)
			}
		})
	}
}
