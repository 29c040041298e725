package status

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"mirrord/internal/oci"
)

func failing(q Request, err error) Request {
	q.Via, q.Err = "", err
	return q
}

// Problems of one image are merged, the latest comes first, and what does not exist last.
func TestProblems(t *testing.T) {
	r, c := newTest(noon)
	down := oci.Errorf(oci.Unavailable, "docker.io responded with 503")
	r.Note(failing(manifest("1"), down))
	r.Note(failing(manifest("2"), &oci.LimitError{Kind: oci.LimitPulls, Upstream: "docker.io"}))
	c.Time = c.Add(time.Minute)
	r.Note(failing(manifest("nowhere"), oci.Errorf(oci.ManifestUnknown, "not found")))
	r.Note(failing(manifest("1"), oci.Errorf(oci.Unavailable, "docker.io responded with 502\n\x1b[31mred")))
	r.Note(failing(manifest("3"), oci.Errorf(oci.Unauthorized, "who are you?")))
	errs := statusOf(r).Errors
	if len(errs) != 3 {
		t.Fatalf("%+v", errs)
	}
	first, second, last := errs[0], errs[1], errs[2]
	if first.Image != "docker.io/library/a:1" || first.Count != 2 || first.Error != "docker.io responded with 502" || !first.Time.Equal(c.Time) || first.Minor {
		t.Errorf("%+v", first)
	}
	if second.Image != "docker.io/library/a:2" || second.Count != 1 || !strings.Contains(second.Advice, "login with a higher limit") {
		t.Errorf("%+v", second)
	}
	if last.Image != "docker.io/library/a:nowhere" || !last.Minor {
		t.Errorf("%+v", last)
	}
	c.Time = c.Add(23*time.Hour + 59*time.Minute)
	if errs = statusOf(r).Errors; len(errs) != 2 {
		t.Errorf("a day later: %+v", errs)
	}
}

// A layer that fails is a problem of the tag that its client pulls.
func TestProblemOfBlob(t *testing.T) {
	r, _ := newTest(noon)
	r.Note(manifest("1"))
	r.Note(failing(blob(), oci.Errorf(oci.Unavailable, "cut")))
	if errs := statusOf(r).Errors; len(errs) != 1 || errs[0].Image != "docker.io/library/a:1" {
		t.Errorf("%+v", errs)
	}
}

// Each kind of error has its own advice; what only the client can mend has none.
func TestCauses(t *testing.T) {
	wrapped := func(err error) error { return oci.Errorf(oci.Unavailable, "docker.io cannot be reached: %w", err) }
	for _, test := range []struct {
		err  error
		want *cause
	}{
		{nil, nil},
		{oci.Errorf(oci.NameInvalid, "bad"), nil},
		{oci.Errorf(oci.Unauthorized, "login"), nil},
		{oci.Errorf(oci.Denied, "no"), causeDenied},
		{oci.Errorf(oci.NameUnknown, "no"), causeMissing},
		{oci.Errorf(oci.ManifestUnknown, "%w", oci.ErrOffline), causeOffline},
		{wrapped(oci.ErrLogin), causeLogin},
		{wrapped(oci.ErrLoop), causeLoop},
		{wrapped(oci.ErrCorrupt), causeCut},
		{wrapped(&net.DNSError{}), causeName},
		{wrapped(context.DeadlineExceeded), causeTimeout},
		{wrapped(&net.OpError{Err: syscall.ETIMEDOUT}), causeTimeout},
		{wrapped(syscall.ECONNREFUSED), causeRefused},
		{wrapped(syscall.ENOSPC), causeDisk},
		{errors.New("anything"), causeBroken},
	} {
		if got := causeOf(test.err); got != test.want {
			t.Errorf("%v: %+v, want %+v", test.err, got, test.want)
		}
	}
	for _, kind := range []oci.LimitKind{oci.LimitPulls, oci.LimitRequests, oci.LimitReserve, oci.LimitClient, oci.LimitInFlight, oci.LimitLogins, oci.LimitRate} {
		if c := causeOf(&oci.LimitError{Kind: kind}); c == nil || c.advice == "" {
			t.Errorf("%s has no advice", kind)
		}
	}
}

// What an upstream says can be shown on a terminal.
func TestOneLine(t *testing.T) {
	got := oneLine("a\x1b]0;title\x07\u202eb" + strings.Repeat("é", maxError) + "\nmore")
	for _, r := range got {
		if !unicode.IsPrint(r) {
			t.Errorf("%q has %q", got, r)
		}
	}
	if len(got) > maxError || !strings.HasPrefix(got, "a?]0;title??b") {
		t.Errorf("%q", got)
	}
}

// Without names nothing says who pulled what.
func TestWithhold(t *testing.T) {
	r, _ := newTest(noon)
	r.Note(manifest("1"))
	r.Note(failing(manifest("1"), oci.Errorf(oci.Unavailable, "library/a is down")))
	s := statusOf(r)
	s.Fills = []Fill{{Upstream: "docker.io", Repository: "library/a", Digest: digest, Bytes: 5}}
	all := s
	s.Withhold()
	if !s.Withheld || len(s.Images) != 0 || s.Clients != nil || s.Errors[0].Image != "" || s.Errors[0].Error != "unavailable" || s.Fills[0].Repository+s.Fills[0].Digest != "" {
		t.Errorf("%+v", s)
	}
	if s.Fills[0].Bytes != 5 || s.Errors[0].Advice == "" || all.Fills[0].Digest == "" || all.Errors[0].Image == "" {
		t.Errorf("%+v of %+v", s, all)
	}
}
