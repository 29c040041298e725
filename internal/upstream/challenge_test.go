package upstream

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func headerOf(lines ...string) http.Header { return http.Header{"Www-Authenticate": lines} }

func TestParseChallenges(t *testing.T) {
	t.Parallel()
	hub := map[string]string{"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": "repository:a/b:pull,push"}
	for name, test := range map[string]struct {
		lines []string
		want  []challenge
	}{
		"none":  {nil, nil},
		"empty": {[]string{"", " , ,"}, nil},
		"docker hub": {
			[]string{`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"`},
			[]challenge{{bearer, hub}},
		},
		"basic before bearer, one header": {
			[]string{`Basic realm="Gitea", Bearer realm="https://g.example/v2/token",service="container_registry",scope="*"`},
			[]challenge{{basic, map[string]string{"realm": "Gitea"}}, {bearer, map[string]string{"realm": "https://g.example/v2/token", "service": "container_registry", "scope": "*"}}},
		},
		"two headers": {
			[]string{`Basic realm="x"`, `Bearer realm="y"`},
			[]challenge{{basic, map[string]string{"realm": "x"}}, {bearer, map[string]string{"realm": "y"}}},
		},
		"unknown schemes first": {
			[]string{`Negotiate, NTLM TlRMTVNTUAAC+/basic==, DPoP algs="ES256 PS256", Bearer realm="y"`},
			[]challenge{{"negotiate", nil}, {"ntlm", nil}, {"dpop", map[string]string{"algs": "ES256 PS256"}}, {bearer, map[string]string{"realm": "y"}}},
		},
		"unquoted, case, blanks": {
			[]string{"basic realm=zot", `BEARER Realm = https://z.example/token , Service	=	z`},
			[]challenge{{basic, map[string]string{"realm": "zot"}}, {bearer, map[string]string{"realm": "https://z.example/token", "service": "z"}}},
		},
		"quoted commas, quotes and schemes": {
			[]string{`Basic realm="a \"b\", Bearer realm=\"c\\", Bearer realm="d"`},
			[]challenge{{basic, map[string]string{"realm": `a "b", Bearer realm="c\`}}, {bearer, map[string]string{"realm": "d"}}},
		},
		"no commas between parameters": {
			[]string{`Bearer realm="y" service="s"`},
			[]challenge{{bearer, map[string]string{"realm": "y", "service": "s"}}},
		},
		"the first of two": {[]string{`Bearer realm="y",realm="z"`}, []challenge{{bearer, map[string]string{"realm": "y"}}}},
		"broken": {
			[]string{`realm="x"; =, "Bearer", Bearer realm="y`},
			[]challenge{{bearer, map[string]string{"realm": "y"}}},
		},
	} {
		got := parseChallenges(headerOf(test.lines...))
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(challenge{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`Basic realm="x", Bearer realm="y",service="s"`: "bearer y s",
		`Bearer realm="y"`:                "bearer y ",
		`Negotiate, basic`:                "basic",
		`Bearer error="x", BASIC realm=x`: "basic",
		`Bearer error="x"`:                "",
		`Negotiate`:                       "",
		``:                                "",
	} {
		c, ok := choose(parseChallenges(headerOf(line)))
		if c.key() != want || ok != (want != "") {
			t.Errorf("%q: chose %q, %v; want %q", line, c.key(), ok, want)
		}
	}
	for line, want := range map[string]string{
		`Bearer realm="y",error="insufficient_scope"`: "insufficient_scope",
		`Basic error="x", Bearer realm="y"`:           "",
	} {
		if got := bearerError(parseChallenges(headerOf(line))); got != want {
			t.Errorf("%q: reason %q, want %q", line, got, want)
		}
	}
}

// A realm comes through as it was quoted, whatever stands around it; and no
// header makes a challenge that it does not spell.
func FuzzParseChallenges(f *testing.F) {
	for _, realm := range []string{"https://auth.docker.io/token", `a "b", Bearer realm="c\`, "", ",", "=", "\xff", "é"} {
		f.Add(realm, `Negotiate, NTLM abc==`, `Basic realm="x"`)
		f.Add(realm, `Basic realm="x`, `,,=,"`)
		f.Add(realm, `Basic realm = x y`, `Bearer`)
	}
	f.Fuzz(func(t *testing.T, realm, before, after string) {
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm) + `"`
		all := parseChallenges(headerOf(before, "Bearer Realm="+quoted+", Basic", after))
		earlier := parseChallenges(headerOf(before))
		if n := len(earlier); n < maxChallenges && (len(all) < n+2 || all[n].scheme != bearer || all[n].params["realm"] != realm || all[n+1].scheme != basic) {
			t.Errorf("after %q, %s is read as %q", before, quoted, all)
		}
		if len(all) > maxChallenges+2 {
			t.Errorf("%d challenges", len(all))
		}
		for _, c := range all {
			if spelt := strings.ToLower(before + " Bearer Basic " + after); c.scheme == "" || !strings.Contains(spelt, c.scheme) {
				t.Errorf("scheme %q of %q", c.scheme, spelt)
			}
		}
	})
}
