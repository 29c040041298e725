package doctor

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
)

func TestBucket(t *testing.T) {
	for _, tc := range []struct {
		err   error
		state State
		words string
	}{
		{nil, OK, "acme can be read"},
		{fmt.Errorf("get: %w", bucket.ErrDenied), Fail, "access_key"},
		{errors.New("the region is wrong"), Fail, "acme: the region is wrong"},
	} {
		b := buckettest.NewMemory()
		b.Faults = func(buckettest.Op, string) buckettest.Fault { return buckettest.Fault{Err: tc.err} }
		c := Bucket(t.Context(), "acme", b)
		if c.State != tc.state || !strings.Contains(c.Detail+c.Hint, tc.words) || (c.State == OK) != (c.Hint == "") {
			t.Errorf("%v: %+v", tc.err, c)
		}
	}

	// What is no store says of every object that it is absent.
	b := buckettest.NewMemory()
	b.Faults = func(op buckettest.Op, _ string) (f buckettest.Fault) {
		if op == buckettest.List {
			f.Err = errors.New("no such bucket")
		}
		return f
	}
	if c := Bucket(t.Context(), "acme", b); c.State != Fail {
		t.Errorf("%+v", c)
	}
}
