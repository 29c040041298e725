package access

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func networks(cidrs ...string) (all []netip.Prefix) {
	for _, cidr := range cidrs {
		all = append(all, netip.MustParsePrefix(cidr))
	}
	return all
}

var (
	alice = oci.Client{Address: netip.MustParseAddr("10.1.2.3"), Names: []string{"user:alice"}}
	build = oci.Client{Address: netip.MustParseAddr("10.9.0.1"), Names: []string{"cert:CN=build-7", "cert:dns:build-7.example"}}
	gitea = oci.Client{Address: netip.MustParseAddr("2001:db8::1"), Names: []string{"jwt:repo:acme/app:ref:refs/heads/main"}}
	guest = oci.Client{Address: netip.MustParseAddr("192.0.2.1")}
)

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		rule    Rule
		yes, no []request
	}{
		{Rule{}, []request{{guest, "docker.io", "library/a", ""}}, nil},
		{Rule{Upstream: "ghcr.io"}, []request{{guest, "ghcr.io", "a/b", "1"}}, []request{{guest, "docker.io", "a/b", "1"}}},
		{Rule{Repository: "library/x*"}, []request{{guest, "d", "library/xz", "1"}}, []request{{guest, "d", "library/a", ""}, {guest, "d", "library/x/y", ""}, {guest, "d", "x/library/xz", ""}}},
		{Rule{Repository: "acme/**"}, []request{{guest, "d", "acme/a", ""}, {guest, "d", "acme/a/b", ""}}, []request{{guest, "d", "acmes/a", ""}}},
		{Rule{Tag: "v1.*"}, []request{{guest, "d", "a", "v1.2"}}, []request{{guest, "d", "a", "v2"}, {guest, "d", "a", ""}}},
		{Rule{Tag: "*"}, []request{{guest, "d", "a", "v1.2"}}, []request{{guest, "d", "a", ""}}},
		{Rule{From: networks("10.1.0.0/16", "2001:db8::/32")}, []request{{alice, "d", "a", ""}, {gitea, "d", "a", ""}}, []request{{build, "d", "a", ""}, {oci.Client{}, "d", "a", ""}}},
		{Rule{Who: []string{"user:*"}}, []request{{alice, "d", "a", ""}}, []request{{guest, "d", "a", ""}, {build, "d", "a", ""}}},
		{Rule{Who: []string{"anonymous"}}, []request{{guest, "d", "a", ""}}, []request{{alice, "d", "a", ""}}},
		{Rule{Who: []string{"user:bob", "cert:dns:*.example"}}, []request{{build, "d", "a", ""}}, []request{{alice, "d", "a", ""}}},
		{Rule{Who: []string{"jwt:repo:acme/*"}}, []request{{gitea, "d", "a", ""}}, []request{{alice, "d", "a", ""}}},
		{Rule{Who: []string{"user:*"}, From: networks("10.9.0.0/16")}, nil, []request{{alice, "d", "a", ""}, {build, "d", "a", ""}}},
	} {
		for _, q := range test.yes {
			if !test.rule.matches(q) {
				t.Errorf("%+v does not match %+v", test.rule, q)
			}
		}
		for _, q := range test.no {
			if test.rule.matches(q) {
				t.Errorf("%+v matches %+v", test.rule, q)
			}
		}
	}
}

// unmet is a Requirement that nothing meets.
type unmet struct{ err error }

func (u unmet) Check(context.Context, oci.Registry, oci.Ref, string) error { return u.err }

var errTooYoung = oci.Errorf(oci.Denied, "it is 2 days old, and 7 days are required")

// counting is a Fake that counts what is open.
type counting struct {
	ocitest.Fake
	open int
}

func (c *counting) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	content, err := c.Fake.Open(ctx, ref)
	if err == nil {
		c.open++
		content.Done = func() { c.open-- }
	}
	return content, err
}

// The first rule that matches decides, a dry run is only reported, and requirements are
// checked of what was found.
func TestFilter(t *testing.T) {
	fake := &counting{}
	ref := ocitest.ManifestRef(t, "v1")
	fake.AddManifest(ocitest.Repo, "v1", "application/vnd.oci.image.manifest.v1+json", []byte(`{"schemaVersion":2}`))
	denied := Rule{Name: "access.rules[9]", Effect: Deny}
	young := Rule{Name: "access.rules[8]", Effect: Require, Requirement: unmet{errTooYoung}}
	for name, test := range map[string]struct {
		rules   []Rule
		code    oci.Code // empty: it is served
		message string
		refused []string
	}{
		"no rule":             {nil, "", "", nil},
		"denied":              {[]Rule{denied}, oci.Denied, "denied by access.rules[9]", []string{"access.rules[9]"}},
		"allowed before":      {[]Rule{{Effect: Allow, Repository: "team/*"}, denied}, "", "", nil},
		"other allowed":       {[]Rule{{Effect: Allow, Repository: "acme/*"}, denied}, oci.Denied, "access.rules[9]", []string{"access.rules[9]"}},
		"dry run":             {[]Rule{{Name: "dry", Effect: Deny, DryRun: true}}, "", "", []string{"dry"}},
		"dry run, then not":   {[]Rule{{Name: "dry", Effect: Deny, DryRun: true}, denied}, oci.Denied, "access.rules[9]", []string{"dry", "access.rules[9]"}},
		"requirement":         {[]Rule{young}, oci.Denied, "denied by access.rules[8] of this mirror: it is 2 days old", []string{"access.rules[8]"}},
		"exempt":              {[]Rule{{Effect: Allow}, young}, "", "", nil},
		"met":                 {[]Rule{{Effect: Require, Requirement: unmet{nil}}}, "", "", nil},
		"requirement unknown": {[]Rule{{Name: "r", Effect: Require, Requirement: unmet{oci.Errorf(oci.Unavailable, "down")}}}, oci.Unavailable, "cannot be checked now: down", []string{"r"}},
		"requirement, dry":    {[]Rule{{Name: "r", Effect: Require, DryRun: true, Requirement: unmet{errTooYoung}}}, "", "", []string{"r"}},
	} {
		t.Run(name, func(t *testing.T) {
			var refused []string
			f := NewFilter(test.rules, fake, func(_ context.Context, r Refusal) { refused = append(refused, r.Rule) })
			ctx := oci.WithClient(t.Context(), guest)
			content, err := f.Open(ctx, ref)
			if err == nil {
				_, err = io.Copy(io.Discard, content.Body)
				err = errors.Join(err, content.Close())
			}
			_, headErr := f.Resolve(ctx, ref)
			for _, err := range []error{err, headErr} {
				if test.code == "" && err != nil || test.code != "" && (err == nil || oci.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.message)) {
					t.Errorf("%v, want %s %q", err, test.code, test.message)
				}
			}
			if diff := cmp.Diff(append(test.refused, test.refused...), refused); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
	if fake.open != 0 {
		t.Error("refused content was not closed")
	}
}

// A client that has gone is refused nothing.
func TestFilterOfClientThatHasGone(t *testing.T) {
	fake := new(ocitest.Fake)
	fake.AddManifest(ocitest.Repo, "v1", "application/vnd.oci.image.manifest.v1+json", []byte(`{"schemaVersion":2}`))
	ctx, leave := context.WithCancel(t.Context())
	leave()
	f := NewFilter([]Rule{{Effect: Require, Requirement: unmet{ctx.Err()}}}, fake, func(context.Context, Refusal) { t.Error("refused") })
	if _, err := f.Resolve(ctx, ocitest.ManifestRef(t, "v1")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// reader is a Requirement that reads the manifest, as those of the product do.
type reader struct{}

func (reader) Check(ctx context.Context, next oci.Registry, ref oci.Ref, _ string) error {
	_, err := openManifest(ctx, next, ref)
	return err
}

// A manifest that bypasses the cache is not opened twice: it would be paid twice.
func TestFilterPaysOnce(t *testing.T) {
	fake := &counting{}
	raw := []byte(`{"schemaVersion":2}`)
	ref := ocitest.ManifestRef(t, "v1")
	digest := fake.AddManifest(ocitest.Repo, "v1", "application/vnd.oci.image.manifest.v1+json", raw)
	rules := []Rule{{Effect: Require, Requirement: reader{}}, {Effect: Require, Requirement: reader{}}}
	f := NewFilter(rules, fake, func(context.Context, Refusal) {})
	got, result, err := ocitest.Read(t.Context(), f, ref)
	if err != nil || string(got) != string(raw) || result.Digest != digest || result.Size != int64(len(raw)) {
		t.Errorf("%s, %+v, %v", got, result, err)
	}
	if n := fake.Calls("Open", "v1") + fake.Calls("Open", digest.String()); n != 1 {
		t.Errorf("opened %d times", n)
	}
	fake.Wrap(func(oci.Ref, io.ReadSeeker) io.Reader { return strings.NewReader("broken") })
	if _, _, err := ocitest.Read(t.Context(), f, ref); err == nil || fake.open != 0 {
		t.Errorf("broken: %v, %d open", err, fake.open)
	}
}

// Requirements are of manifests; the rest is of blobs and lists, too.
func TestFilterOfBlobsAndLists(t *testing.T) {
	fake := new(ocitest.Fake)
	blob := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, []byte("layer")))
	listing, err := oci.ParseTags("docker.io", blob.Repository(), "")
	if err != nil {
		t.Fatal(err)
	}
	refused := func(context.Context, Refusal) {}
	young := NewFilter([]Rule{{Effect: Require, Requirement: unmet{errTooYoung}}, {Effect: Deny, Tag: "*"}}, fake, refused)
	if _, err := young.Resolve(t.Context(), blob); err != nil {
		t.Error(err)
	}
	if _, err := young.List(t.Context(), listing); err != nil && oci.CodeOf(err) == oci.Denied {
		t.Error(err)
	}
	denied := NewFilter([]Rule{{Effect: Deny, Repository: blob.Repository()}}, fake, refused)
	if _, err := denied.Open(t.Context(), blob); oci.CodeOf(err) != oci.Denied {
		t.Error(err)
	}
	if _, err := denied.List(t.Context(), listing); oci.CodeOf(err) != oci.Denied {
		t.Error(err)
	}
}

// Private content needs a rule that allows it: what is allowed because no rule matches
// is not enough.
func TestGrants(t *testing.T) {
	rules := []Rule{
		{Effect: Deny, Repository: "acme/secret"},
		{Effect: Deny, DryRun: true},
		{Effect: Require, Requirement: unmet{errTooYoung}},
		{Effect: Allow, Repository: "acme/*", Who: []string{"user:*"}},
	}
	for name, want := range map[string]bool{"acme/app": true, "acme/secret": false, "library/alpine": false} {
		if got := Grants(oci.WithClient(t.Context(), alice), rules, "docker.io", name, ""); got != want {
			t.Errorf("%s for alice: %v", name, got)
		}
		if Grants(oci.WithClient(t.Context(), guest), rules, "docker.io", name, "") {
			t.Errorf("%s for a guest", name)
		}
	}
}
