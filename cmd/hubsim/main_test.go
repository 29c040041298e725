package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"go.uber.org/goleak"

	"mirrord/internal/hubsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newPuller(t *testing.T) (*hubsim.Hub, *puller) {
	t.Helper()
	hub, err := hubsim.Start(hubsim.Options{NoAuth: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	if err := seedDemo(hub); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return hub, &puller{http: http.Client{Transport: transport}, url: hub.URL(), repo: demoRepo, via: map[string]int{}}
}

func TestPullGetsOnePlatform(t *testing.T) {
	hub, p := newPuller(t)
	if err := p.pull(t.Context(), demoTag); err != nil {
		t.Fatal(err)
	}
	n := hub.Counters()
	if n.ManifestGETs != 2 || n.CDNGETs != 5 || n.CDNBytes < 20<<20 || p.via[""] != 7 {
		t.Errorf("pulled by %v, counted %+v", p.via, n)
	}
}

func TestPullDetectsFaults(t *testing.T) {
	hub, p := newPuller(t)
	at := int64(100)
	for want, fault := range map[string]hubsim.Fault{
		"not match":      {Op: "cdn", FlipAt: &at},
		"bytes that":     {Op: "cdn", Truncate: 1},
		"unexpected EOF": {Op: "cdn", DropAfter: 10},
		", not sha256:":  {Op: "manifest", FlipAt: &at},
		"503":            {Op: "manifest", Status: 503},
	} {
		remove := hub.Inject(fault)
		if err := p.pull(t.Context(), demoTag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", fault, err, want)
		}
		remove()
	}
}

func TestSeedPrintsImages(t *testing.T) {
	hub, err := hubsim.Start(hubsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	var out bytes.Buffer
	if err := seed(hub, &out); err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{"library/busybox:latest", "library/demo:20layers", "ratelimitpreview/test:latest"} {
		if !strings.Contains(out.String(), image+" ") {
			t.Errorf("%s is not in %q", image, out.String())
		}
	}
}

func TestDemoFailsWithoutADaemon(t *testing.T) {
	var out bytes.Buffer
	if err := demo(t.Context(), "/bin/false", &out); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("error %v, want that mirrord ended", err)
	}
}

// A mirror that saves nothing must not pass for one that does.
func TestCheckCosts(t *testing.T) {
	spent := hubsim.Counters{ManifestGETs: 2, CDNBytes: 1}
	asked := hubsim.Counters{ManifestHEADs: 1}
	if err := checkCosts([]cost{{upstream: spent}, {upstream: asked}, {}}); err != nil {
		t.Error(err)
	}
	if err := checkCosts([]cost{{upstream: spent}, {upstream: spent}, {}}); err == nil {
		t.Error("a second pull that costs was passed")
	}
}

func TestServeKnowsItsProfiles(t *testing.T) {
	c := command()
	c.SetArgs([]string{"serve", "--profile", "nothing"})
	if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "one of hub, ghcr, quay") {
		t.Errorf("error %v, want the names of the profiles", err)
	}
}

// A private repository is served to its account only: not without a login.
func TestServePrivate(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, served := new(bytes.Buffer), make(chan error, 1)
	read, write := io.Pipe()
	c := serveCommand()
	c.SetOut(write)
	c.SetArgs([]string{"--listen", "127.0.0.1:0", "--user", "ann=secret", "--private", "library/demo=ann"})
	go func() { served <- c.ExecuteContext(ctx) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	lines := bufio.NewReader(read)
	for range 4 {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(line)
	}
	_, url, _ := strings.Cut(out.String(), " at ")
	url, _, _ = strings.Cut(url, "\n")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for image, ok := range map[string]bool{"library/demo:20layers": false, "library/busybox:latest": true} {
		ref, err := name.ParseReference(strings.TrimPrefix(url, "http://") + "/" + image)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := remote.Head(ref, remote.WithTransport(transport)); (err == nil) != ok {
			t.Errorf("%s: %v", image, err)
		}
	}
}
