package status

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mirrord/internal/oci"
)

const digest = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func clientAt(address string) oci.ClientKey {
	return oci.Client{Address: netip.MustParseAddr(address)}.Key()
}

// manifest is a request for a manifest of library/a by tag or digest.
func manifest(reference string) Request {
	return Request{Upstream: "docker.io", Repository: "library/a", Reference: reference, Manifest: true, Client: clientAt("10.0.0.1"), Via: oci.Hit, Bytes: 1}
}

func head(q Request) Request { q.Head = true; return q }

func from(client oci.ClientKey, q Request) Request { q.Client = client; return q }

func blob() Request {
	q := manifest(digest)
	q.Manifest, q.Via, q.Bytes = false, oci.Fill, 100
	return q
}

func wantUses(t *testing.T, what string, got []Use, want ...Use) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Use{}, "Last"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// What clients ask for in a pull is one pull of the tag, and its layers are bytes of it.
func TestPullsOfImages(t *testing.T) {
	for name, test := range map[string]struct {
		requests []Request
		want     Use
	}{
		"containerd and docker": {[]Request{head(manifest("1")), manifest(digest), manifest(digest), blob(), blob()},
			Use{Name: "docker.io/library/a:1", Pulls: 1, Requests: 5, Hits: 3, Bytes: 203}},
		"podman": {[]Request{manifest("1"), manifest(digest), blob()},
			Use{Name: "docker.io/library/a:1", Pulls: 1, Requests: 3, Hits: 2, Bytes: 102}},
		"by digest": {[]Request{head(manifest(digest)), manifest(digest), manifest(digest), blob()},
			Use{Name: "docker.io/library/a", Pulls: 1, Requests: 4, Hits: 3, Bytes: 103}},
		"two pulls": {[]Request{manifest("1"), blob(), manifest("1"), blob()},
			Use{Name: "docker.io/library/a:1", Pulls: 2, Requests: 4, Hits: 2, Bytes: 202}},
		"with signatures": {[]Request{manifest("1"), manifest("sha256-4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1.sig"), blob()},
			Use{Name: "docker.io/library/a:1", Pulls: 1, Requests: 3, Hits: 2, Bytes: 102}},
	} {
		r, _ := newTest(noon)
		for _, q := range test.requests {
			r.Note(q)
		}
		s := statusOf(r)
		wantUses(t, name, s.Images, test.want)
		test.want.Name = "10.0.0.1"
		wantUses(t, name, s.Clients, test.want)
	}
}

// Clients that pull two tags of one repository at the same time do not mix them.
func TestTagsOfClients(t *testing.T) {
	r, _ := newTest(noon)
	alice := oci.Client{Names: []string{"user:alice"}}.Key()
	r.Note(manifest("1"))
	r.Note(from(alice, manifest("2")))
	r.Note(blob())
	r.Note(from(alice, blob()))
	r.Note(from(alice, blob()))
	s := statusOf(r)
	wantUses(t, "images", s.Images,
		Use{Name: "docker.io/library/a:2", Pulls: 1, Requests: 3, Hits: 1, Bytes: 201},
		Use{Name: "docker.io/library/a:1", Pulls: 1, Requests: 2, Hits: 1, Bytes: 101})
	wantUses(t, "clients", s.Clients,
		Use{Name: "user:alice", Pulls: 1, Requests: 3, Hits: 1, Bytes: 201},
		Use{Name: "10.0.0.1", Pulls: 1, Requests: 2, Hits: 1, Bytes: 101})
}

// Uses are those of the last day, whatever the clock does.
func TestLastDay(t *testing.T) {
	r, c := newTest(noon)
	r.Note(manifest("old"))
	c.Time = noon.Add(10 * time.Hour)
	r.Note(manifest("new"))
	c.Time = c.Add(time.Second)
	r.Note(manifest("old"))
	c.Time = noon.Add(24 * time.Hour)
	wantUses(t, "a day later", statusOf(r).Images,
		Use{Name: "docker.io/library/a:old", Pulls: 1, Requests: 1, Hits: 1, Bytes: 1},
		Use{Name: "docker.io/library/a:new", Pulls: 1, Requests: 1, Hits: 1, Bytes: 1})
	c.Time = noon.AddDate(-9, 0, 0)
	wantUses(t, "years earlier", statusOf(r).Images)
	r.Note(manifest("old"))
	wantUses(t, "used then", statusOf(r).Images, Use{Name: "docker.io/library/a:old", Pulls: 1, Requests: 1, Hits: 1, Bytes: 1})
}

// What a client asks for takes bounded memory, and what does not exist takes none.
func TestBounded(t *testing.T) {
	r, _ := newTest(noon)
	for i := range 5 * maxVisits {
		r.Note(from(clientAt(fmt.Sprintf("10.1.%d.%d", i/256%256, i%256)), manifest(fmt.Sprint(i))))
		missing := manifest(fmt.Sprintf("missing-%d", i))
		missing.Via, missing.Err = "", oci.Errorf(oci.ManifestUnknown, "not found")
		r.Note(missing)
		failed := manifest(fmt.Sprintf("failed-%d", i))
		failed.Via, failed.Err = "", oci.Errorf(oci.Unavailable, "down")
		r.Note(failed)
	}
	if n := r.images.of.Len(); n != maxUses {
		t.Errorf("%d images", n)
	}
	if n := r.visits.of.Len(); n != maxVisits {
		t.Errorf("%d visits", n)
	}
	s := statusOf(r)
	if len(s.Images) != shownUses || len(s.Clients) != shownUses || len(s.Errors) != maxProblems+maxMissing {
		t.Errorf("%d images, %d clients, %d errors", len(s.Images), len(s.Clients), len(s.Errors))
	}
}

// Clients that are not to be remembered are forgotten at once.
func TestNoClients(t *testing.T) {
	r, _ := newTest(noon)
	wanted := true
	r.opts.Clients = func() bool { return wanted }
	r.Note(manifest("1"))
	wanted = false
	r.Note(manifest("1"))
	r.Note(blob())
	s := statusOf(r)
	wanted = true
	if s.Clients != nil || r.clients.of.Len() != 0 || len(statusOf(r).Clients) != 0 {
		t.Errorf("%+v", s.Clients)
	}
	wantUses(t, "images", s.Images, Use{Name: "docker.io/library/a:1", Pulls: 2, Requests: 3, Hits: 2, Bytes: 102})
}
