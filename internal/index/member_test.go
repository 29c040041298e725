package index

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/membership"
	"mirrord/internal/oci"
)

// What is known of private content survives a restart, and what is removed does not.
func TestMembers(t *testing.T) {
	dir := t.TempDir()
	d := oci.FromBytes([]byte("layer"))
	at := time.UnixMilli(1_700_000_000_123).UTC()
	all := []membership.Record{
		{Digest: d},
		{Upstream: "docker.io", Repository: "acme/secret", Checked: at, Allowed: at.Add(time.Second)},
		{Upstream: "docker.io", Repository: "acme/secret", Digest: d},
		{Upstream: "docker.io", Repository: "library/alpine", Public: true, Checked: at},
		{Upstream: "ghcr.io", Repository: "a/b", Checked: at},
	}
	ix, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := ix.UpdateMembers(all, nil); err != nil {
		t.Fatal(err)
	}
	if err := ix.UpdateMembers(nil, []membership.Record{all[4], {Digest: oci.FromBytes(nil)}}); err != nil {
		t.Fatal(err)
	}
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
	if ix, err = Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ix.Close() }()
	var got []membership.Record
	for r, err := range ix.Members() {
		if err != nil {
			t.Error(err)
		}
		got = append(got, r)
	}
	if diff := cmp.Diff(all[:4], got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeDamagedMember(t *testing.T) {
	d := oci.FromBytes([]byte("layer")).String()
	for key, value := range map[string][]byte{
		"b/" + d:            {1},
		"m/" + d:            {1},
		"m/u r sha256:1":    {1},
		"m/u r " + d:        {2},
		"m/u r " + d + " ":  {1},
		"m/u q " + d:        {1, 1},
		"m/u repository ":   {1, 1},
		"m/u without ":      {},
		"m/u unknown/repo ": {1, 1, 2, 2, 2},
	} {
		if r, err := decodeMember(key, value); err == nil {
			t.Errorf("%q: %+v", key, r)
		}
	}
}
