package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/archive"
	"mirrord/internal/doctor"
	"mirrord/internal/fleet/sweep"
	"mirrord/internal/health"
	"mirrord/internal/images"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/retention"
	"mirrord/internal/route"
	"mirrord/internal/server"
	"mirrord/test/cachetest"
)

// brokenKey is of a context in which dry runs fail, too.
type brokenKey struct{}

// recorded is the API of a mirror whose bucket breaks while it is cleaned up, and the
// actions that it has reported.
func recorded() (a *API, actions *[]Action) {
	actions = new([]Action)
	return New(Options{
		Acted:   func(one Action) { *actions = append(*actions, one) },
		Metrics: http.NotFoundHandler(),
		Doctor:  func(context.Context, func(doctor.Check)) doctor.Served { return doctor.Served{} },
		Fleet: &FleetOptions{Sweep: func(ctx context.Context, dryRun bool, _ func(sweep.Result)) (sweep.Result, error) {
			if dryRun && ctx.Value(brokenKey{}) == nil {
				return sweep.Result{}, nil
			}
			return sweep.Result{}, errors.New("the bucket is broken")
		}},
	}), actions
}

// What may have changed something is reported, with how it ended, and what only reads is
// not.
func TestActions(t *testing.T) {
	a, actions := recorded()
	local := &net.UnixAddr{Name: "admin.sock", Net: "unix"} // which needs no token
	handler := a.Handler()
	for _, request := range []string{
		"GET /v1/pins/none", "HEAD /readyz/none",
		"POST /v1/fleet/gc?dry_run=true",
		"POST /v1/fleet/gc",
		"POST /v1/doctor?dry_run=true&plan=true", // which has no dry run
		"DELETE /v1/pins?dry_run=true",
	} {
		method, path, _ := strings.Cut(request, " ")
		r := httptest.NewRequest(method, path, nil)
		r.Host = "localhost"
		handler.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local)))
	}
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/fleet/gc?dry_run=true", nil))
	address := netip.MustParseAddr("192.0.2.1")
	want := []Action{
		{Address: address, Request: "POST /v1/fleet/gc", Status: 200, Err: errors.New("the bucket is broken")},
		{Address: address, Request: "POST /v1/doctor?dry_run=true&plan=true", Status: 200},
		{Address: address, Request: "DELETE /v1/pins?dry_run=true", Status: 400, Err: errors.New("name 1 to 1000 images, each as a parameter pattern")},
		{Address: address, Request: "POST /v1/fleet/gc?dry_run=true", Status: 403}, // example.com is not its name
	}
	sameText := cmp.Comparer(func(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) })
	if diff := cmp.Diff(want, *actions, sameText, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

// A dry run that fails after its status is reported.
func TestFailedDryRun(t *testing.T) {
	a, actions := recorded()
	r := httptest.NewRequest(http.MethodPost, "/v1/fleet/gc?dry_run=true", nil)
	w := httptest.NewRecorder()
	a.reportActions(stream(a.sweepFleet)).ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), brokenKey{}, true)))
	if len(*actions) != 1 || w.Code != http.StatusOK || (*actions)[0].Err == nil {
		t.Errorf("%d, %+v", w.Code, *actions)
	}
}

// A request whose handler panics is reported, and the panic goes on.
func TestPanickedAction(t *testing.T) {
	for _, value := range []any{http.ErrAbortHandler, "a bug"} {
		a, actions := recorded()
		var got any
		func() {
			defer func() { got = recover() }()
			a.reportActions(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusOK)
				noteOf(r).looked = true
				panic(value)
			})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/purge", nil))
		}()
		if got != value || len(*actions) != 1 {
			t.Fatalf("panic %v, %d reported", got, len(*actions))
		}
		if one := (*actions)[0]; one.Status != 500 || one.Err == nil || one.Err.Error() != fmt.Sprintf("panic: %v", value) {
			t.Errorf("%+v", one)
		}
	}
}

// An export of nothing says why it is refused.
func TestExportOfNothing(t *testing.T) {
	a, actions := recorded()
	a.reportActions(http.HandlerFunc(a.serveExport)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/export", nil))
	if len(*actions) != 1 || (*actions)[0].Status != 400 || (*actions)[0].Err == nil {
		t.Errorf("%+v", *actions)
	}
}

// refusing is a quota that has nothing left for newer copies.
type refusing struct{}

func (refusing) Save(context.Context, oci.Ref) error           { return errors.New("the reserve is left") }
func (refusing) Take(context.Context, oci.Ref) (func(), error) { return func() {}, nil }

// A purge that fails in the middle has lost its images, and a refresh counts those that have
// moved and were not fetched.
func TestPartlyDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := cachetest.Start(t, new(ocitest.Fake), func(o *cachetest.Options) { o.Tags.Quota = refusing{} })
		routes := func() route.Table { return route.NewTable(route.Upstream{Name: ocitest.Upstream}) }
		known := images.New(images.Options{Tags: f.Registry, Cache: f.Cache, Routes: routes})
		a, actions := recorded()
		a.opts.Images, a.opts.Tags = known, f.Registry
		a.opts.Retention = retention.New(t.Context(), retention.Options{Images: known, Tags: f.Registry, Cache: f.Cache, Index: noPins{}})
		name := ocitest.Upstream + "/" + ocitest.Repo + ":app"
		for _, text := range []string{"{}", `{"config":{}}`} {
			f.Fake.AddManifest(ocitest.Repo, "app", ocispec.MediaTypeImageManifest, []byte(text))
			if text == "{}" {
				_, _, err := ocitest.Read(t.Context(), f, ocitest.ManifestRef(t, "app"))
				check(t, err)
				f.Settled(t)
			}
		}
		send := func(path string) {
			a.reportActions(stream(a.refresh)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, nil))
		}
		send("/v1/refresh?image=" + name + "&image=" + ocitest.Upstream + "/" + ocitest.Repo + ":absent")
		f.Health.Fail(health.Disk, errors.New("the disk is broken"))
		a.reportActions(respond(a.purge)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/purge?pattern="+name, nil))
		for i, want := range []Action{
			{Images: []string{name, ocitest.Upstream + "/" + ocitest.Repo + ":absent"}, Status: 200, Err: errors.New("2 of 2 not fully refreshed")},
			{Images: []string{name}, Status: 500, Err: errors.New("the disk fails")},
		} {
			got := (*actions)[i]
			if !slices.Equal(got.Images, want.Images) || got.Status != want.Status || got.Err == nil || !strings.HasPrefix(got.Err.Error(), want.Err.Error()) {
				t.Errorf("%+v instead of %+v", got, want)
			}
		}
	})
}

// noPins is an index without pins.
type noPins struct{}

func (noPins) Pins() iter.Seq2[retention.Pin, error]       { return func(func(retention.Pin, error) bool) {} }
func (noPins) UpdatePins([]retention.Pin, []oci.Ref) error { return nil }

// A long name is cut between characters.
func TestLongName(t *testing.T) {
	var n note
	n.addImage(strings.Repeat("x", 255) + "é")
	if n.images[0] != strings.Repeat("x", 255) {
		t.Errorf("%q", n.images[0])
	}
}

// Over a unix socket an action is that of the user who has connected.
func TestActionOverSocket(t *testing.T) {
	a, actions := recorded()
	listener, err := server.ListenUnix(filepath.Join(t.TempDir(), "admin.sock"), "admin.socket", 0o600)
	check(t, err)
	s := server.New(listener, server.Options{Handler: a.Handler(), ErrorLog: log.New(io.Discard, "", 0), ConnContext: WithPeer})
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", listener.Addr().String())
		},
		DisableKeepAlives: true,
	}}
	resp, err := client.Post("http://localhost/v1/doctor", "", nil)
	check(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	check(t, errors.Join(err, resp.Body.Close(), s.Close(), <-done))
	uid := uint32(os.Getuid())
	want := []Action{{UID: &uid, Request: "POST /v1/doctor", Status: 200}}
	if own, err := user.Current(); err == nil {
		want[0].User = own.Username
	}
	if diff := cmp.Diff(want, *actions, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

// An import says which images it has brought, and how many it has not.
func TestNoteImport(t *testing.T) {
	var n note
	sum := archive.Summary{Images: []archive.Imported{{Image: "docker.io/library/" + strings.Repeat("x", 500)}, {Image: "gone", Error: "is missing"}, {Image: "newer", Error: "has a newer one", Newer: true}}}
	for range 29 {
		sum.Images = append(sum.Images, archive.Imported{Image: "docker.io/library/alpine:3"})
	}
	noteImport(&n, sum, nil)
	if len(n.images) != 20 || n.total != 30 || len(n.images[0]) != 256 || n.err == nil || n.err.Error() != "1 of 32 not imported" {
		t.Errorf("%d of %d images, %v", len(n.images), n.total, n.err)
	}
	broken := errors.New("unexpected EOF")
	if noteImport(&n, sum, broken); n.err != broken {
		t.Errorf("%v", n.err)
	}
}
