package stack

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/login"
)

// One upstream of several leaves turns to the others, unless it is configured.
func TestMaxFills(t *testing.T) {
	for name, test := range map[string]struct {
		all       int
		upstreams []Upstream
		want      map[string]int
	}{
		"alone":   {32, []Upstream{{Name: "a"}}, map[string]int{}},
		"limited": {32, []Upstream{{Name: "a", MaxFills: 4}}, map[string]int{"a": 4}},
		"two":     {32, []Upstream{{Name: "a"}, {Name: "b", MaxFills: 40}}, map[string]int{"a": 24, "b": 40}},
		"default": {0, []Upstream{{Name: "a"}, {Name: "b"}}, map[string]int{"a": 24, "b": 24}},
		"few":     {1, []Upstream{{Name: "a"}, {Name: "b"}}, map[string]int{"a": 1, "b": 1}},
	} {
		got := maxFills(test.upstreams, test.all)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// An upstream by itself has its fallbacks, and they know whose they are.
func TestConnect(t *testing.T) {
	at := &url.URL{Scheme: "https", Host: "hub.example"}
	anonymous := []Credential{{Name: "main", Login: login.Anonymous()}}
	all := Connect(Upstream{
		Name: "docker.io", URL: at, Transport: http.DefaultTransport, Credentials: anonymous,
		Fallbacks: []Fallback{{URL: at, Transport: http.DefaultTransport, Credentials: anonymous}},
	})
	var got []string
	for _, s := range all {
		got = append(got, s.Pool.Name()+" of "+s.Upstream())
	}
	if diff := cmp.Diff([]string{"docker.io of docker.io", "docker.io/fallback-1 of docker.io"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
