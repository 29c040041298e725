package doctor

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/fleet/bucket/buckettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// want fails unless all has a check whose name begins with name, in that state, with words
// in its detail or its hint. All that is wrong has a hint.
func want(t *testing.T, all []Check, name string, state State, words string) {
	t.Helper()
	found := false
	for _, c := range all {
		found = found || strings.HasPrefix(c.Name, name) && c.State == state && strings.Contains(c.Detail+c.Hint, words)
		if (c.State == OK) != (c.Hint == "") {
			t.Errorf("%+v, which is to have a hint unless it is ok", c)
		}
	}
	if !found {
		t.Errorf("no %s %s with %q in %+v", state, name, words, all)
	}
}

func TestFiles(t *testing.T) {
	if all := files(); len(all) != 1 || !strings.Contains(all[0].Detail, " in use") {
		t.Errorf("%+v", all)
	}
	for _, test := range []struct {
		used, limit uint64
		want        State
	}{{10, 65536, OK}, {60000, 65536, Warn}, {10, 1024, Warn}, {1, 1 << 63, OK}} {
		want(t, []Check{descriptors(test.used, test.limit)}, "file descriptors", test.want, " of ")
	}
}

// What a mirror lacks is not checked.
func TestMirror(t *testing.T) {
	var all []Check
	Mirror{Process: true}.Check(t.Context(), func(c Check) { all = append(all, c) })
	if len(all) != 1 || all[0].Name != "file descriptors" {
		t.Errorf("%+v", all)
	}
	all = nil
	Mirror{Bucket: buckettest.NewMemory(), BucketName: "acme"}.Check(t.Context(), func(c Check) { all = append(all, c) })
	want(t, all, "fleet bucket", OK, "acme")
}

// A check is reported when it and those before it are done, not only with the slowest.
func TestInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		task := func(name string, takes time.Duration) func() []Check {
			return func() []Check { time.Sleep(takes); return []Check{{Name: name}} }
		}
		var got []string
		inOrder([]func() []Check{task("a", 2*time.Second), task("b", time.Second), task("c", 34*time.Second)}, func(c Check) {
			got = append(got, c.Name+" after "+time.Since(begun).String())
		})
		if want := []string{"a after 2s", "b after 2s", "c after 34s"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
