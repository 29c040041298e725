package stack

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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
