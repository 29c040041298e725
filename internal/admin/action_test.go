package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mirrord/internal/archive"
	"mirrord/internal/doctor"
	"mirrord/internal/fleet/sweep"
	"mirrord/internal/server"
)

// recorded is the API of a mirror whose bucket breaks while it is cleaned up, and the
// actions that it has reported.
func recorded() (a *API, actions *[]Action) {
	actions = new([]Action)
	return New(Options{
		Acted:   func(one Action) { *actions = append(*actions, one) },
		Metrics: http.NotFoundHandler(),
		Doctor:  func(context.Context, func(doctor.Check)) doctor.Served { return doctor.Served{} },
		Fleet: &FleetOptions{Sweep: func(_ context.Context, dryRun bool, _ func(sweep.Result)) (sweep.Result, error) {
			if dryRun {
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
