package warm_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/stack"
	"mirrord/internal/warm"
	"mirrord/test/mirrortest"
)

// world is a mirror of a hub with a limit, and what warms it.
type world struct {
	hub    *hubsim.Hub
	mirror *stack.Stack
	warmer *warm.Warmer
}

func start(t *testing.T, limit, reserve int) *world {
	t.Helper()
	hub, err := hubsim.Start(hubsim.Options{Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	mirror, _ := mirrortest.Run(t, mirrortest.Options(t, t.TempDir(), 1<<30, mirrortest.Upstream(t, oci.DockerHub, hub.URL(), transport, reserve)))
	return &world{hub, mirror, warm.New(warm.Options{
		Registry: mirror.Tags, Cache: mirror.Cache, Parse: parse, Reserve: mirror.CheckReserve, Offline: func() bool { return false },
	})}
}

// settle waits until what was read is stored.
func (w *world) settle() {
	for w.mirror.Cache.Stats().Fills > 0 {
		<-time.After(time.Millisecond)
	}
}

func parse(name string) (oci.Ref, error) {
	repository, reference, digest := strings.Cut(name, "@")
	if !digest {
		repository, reference, _ = strings.Cut(name, ":")
	}
	if reference == "" {
		reference = "latest"
	}
	return oci.ParseManifest(oci.DockerHub, strings.TrimPrefix(repository, "docker.io/"), reference)
}

func (w *world) addImages(t *testing.T, repo string, n int) (images []warm.Image) {
	t.Helper()
	for i := range n {
		image, err := hubsim.Layers(2, 10_000, uint64(i+1), hubsim.OCI)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.hub.AddImage(repo, fmt.Sprintf("1.%d.0", i), image); err != nil {
			t.Fatal(err)
		}
		images = append(images, warm.Image{Name: fmt.Sprintf("%s:1.%d.0", repo, i)})
	}
	return images
}

// Of thirty images, a limit of twenty pulls with two in reserve lets eighteen in: not one
// request is refused, and the rest is named with what it waits for.
func TestWarmStopsAtTheReserve(t *testing.T) {
	w := start(t, 20, 10)
	images := w.addImages(t, "acme/app", 30)
	plan, err := w.warmer.Plan(t.Context(), warm.Job{Images: images, Platforms: []string{"linux/amd64"}})
	if err != nil || plan.Images != 30 || plan.TotalPulls() != 30 || plan.Cached != 0 || plan.Failed != 0 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if c := w.hub.Counters(); c.ManifestRequests != 0 || c.ManifestHEADs != 30 {
		t.Errorf("the plan took %d GETs and %d HEADs, want 0 and 30", c.ManifestRequests, c.ManifestHEADs)
	}
	outcomes := make(map[warm.Outcome]int)
	summary, err := w.warmer.Run(t.Context(), warm.Job{Images: images, Platforms: []string{"linux/amd64"}}, warm.Report{
		Result: func(r warm.Result) {
			outcomes[r.Outcome]++
			if r.Outcome == warm.Waiting && !strings.Contains(r.Error, "reserved") {
				t.Errorf("%+v", r)
			}
		},
	})
	if err != nil || summary.RetryAt == nil || summary.Bytes < 18*20_000 {
		t.Errorf("%+v, %v", summary, err)
	}
	if diff := cmp.Diff(map[warm.Outcome]int{warm.Warmed: 18, warm.Waiting: 12}, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if got, want := summary.Text(time.Now()), "warmed 18 of 30; 12 wait for the limit, which resets in 6h0m"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if c := w.hub.Counters(); c.ManifestGETs != 18 || c.Refused != 0 {
		t.Errorf("%d pulls and %d refusals, want 18 and 0", c.ManifestGETs, c.Refused)
	}
	saved := w.mirror.Cache.Stats().Saved[oci.DockerHub]
	if saved != 0 {
		t.Errorf("%d pulls count as saved, though no client asked for anything", saved)
	}
}

// What was warmed costs the next warm, and a client, nothing.
func TestWarmTwice(t *testing.T) {
	w := start(t, 100, 10)
	index, err := hubsim.MultiPlatform(1, hubsim.OCI)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.hub.AddIndex("library/multi", "latest", index); err != nil {
		t.Fatal(err)
	}
	job := warm.Job{Images: []warm.Image{{Name: "multi"}}, Platforms: []string{"linux/arm64"}}
	plan, err := w.warmer.Plan(t.Context(), job)
	if err != nil || plan.TotalPulls() != 2 {
		t.Errorf("an index and an image: %+v, %v", plan, err)
	}
	if summary, err := w.warmer.Run(t.Context(), job, warm.Report{}); err != nil || summary.Warmed != 1 {
		t.Fatalf("%+v, %v", summary, err)
	}
	if c := w.hub.Counters(); c.ManifestGETs != 2 {
		t.Errorf("%d pulls, want 2", c.ManifestGETs)
	}
	w.settle()
	w.hub.Reset()
	if summary, err := w.warmer.Run(t.Context(), job, warm.Report{}); err != nil || summary.Cached != 1 || summary.Bytes != 0 {
		t.Errorf("again: %+v, %v", summary, err)
	}
	job.Platforms = []string{warm.AllPlatforms}
	if plan, err := w.warmer.Plan(t.Context(), job); err != nil || plan.TotalPulls() != 1 {
		t.Errorf("the other platform: %+v, %v", plan, err)
	}
	job.Platforms = []string{"linux/riscv64"}
	plan, err = w.warmer.Plan(t.Context(), job)
	if err != nil || plan.Failed != 1 || plan.Entries[0].Error != "docker.io/library/multi:latest has no image for linux/riscv64" {
		t.Errorf("no such platform: %+v, %v", plan, err)
	}
	if c := w.hub.Counters(); c.ManifestGETs != 0 || c.BlobGETs != 0 {
		t.Errorf("%+v", c)
	}
}

// An image whose manifest is cached costs no pull to complete: neither the reserve nor
// max_pulls ends it, and it does not count.
func TestWarmCompletes(t *testing.T) {
	w := start(t, 4, 50)
	images := w.addImages(t, "acme/app", 3)
	job := warm.Job{Images: images[:2]}
	if summary, err := w.warmer.Run(t.Context(), job, warm.Report{}); err != nil || summary.Warmed != 2 {
		t.Fatalf("%+v, %v", summary, err)
	}
	for _, image := range job.Images {
		w.removeLayers(t, image)
	}
	job = warm.Job{Images: images}
	plan, err := w.warmer.Plan(t.Context(), job)
	if err != nil || plan.TotalPulls() != 1 || plan.Cached != 0 {
		t.Errorf("%+v, %v", plan, err)
	}
	summary, err := w.warmer.Run(t.Context(), job, warm.Report{Result: func(r warm.Result) {
		if r.Outcome != warm.Warmed && r.Image != "docker.io/acme/app:1.2.0" {
			t.Errorf("%+v", r)
		}
	}})
	if err != nil || summary.Warmed != 2 || summary.Waiting != 1 {
		t.Errorf("%+v, %v", summary, err)
	}
	if c := w.hub.Counters(); c.ManifestGETs != 2 {
		t.Errorf("%d pulls, want 2", c.ManifestGETs)
	}
	w.removeLayers(t, images[0])
	w.removeLayers(t, images[1])
	job = warm.Job{Images: images, MaxPulls: 1}
	if summary, err = w.warmer.Run(t.Context(), job, warm.Report{}); err != nil || summary.Warmed != 2 {
		t.Errorf("with max_pulls: %+v, %v", summary, err)
	}
}

// removeLayers removes from the cache all that the manifest of an image names.
func (w *world) removeLayers(t *testing.T, image warm.Image) {
	t.Helper()
	ref, err := parse(image.Name)
	if err != nil {
		t.Fatal(err)
	}
	known, _ := w.mirror.Tags.Known(ref)
	for _, record := range w.mirror.Cache.Records() {
		if record.MediaType != "" || record.Digest == known.Latest.Digest {
			continue
		}
		if _, err := w.mirror.Cache.Remove(t.Context(), time.Now(), record.Digest); err != nil {
			t.Fatal(err)
		}
	}
}

// Tags are selected by an expression.
func TestWarmSelects(t *testing.T) {
	w := start(t, 0, 0)
	w.addImages(t, "acme/app", 12)
	w.hub.SetTag("acme/app", "sha256-00.sig", oci.FromBytes(nil))
	for _, test := range []struct {
		image warm.Image
		want  int
		error string
	}{
		{warm.Image{Name: "acme/app", Tags: `^1\.1[01]?\.0$`}, 3, ""},
		{warm.Image{Name: "acme/app", Tags: "."}, 12, ""},
		{warm.Image{Name: "acme/app", Tags: "^new$"}, 1, `none of its tags (12) matches "^new$"`},
		{warm.Image{Name: "acme/none", Tags: "."}, 1, "acme/none"},
		{warm.Image{Name: "acme/app", Versions: ">= 1.9"}, 3, ""},
		{warm.Image{Name: "acme/app", Versions: "~2"}, 1, `none of its tags (12) matches "~2"`},
		{warm.Image{Name: "acme/app", Versions: "about 2"}, 1, `"about 2": improper constraint`},
		{warm.Image{Name: "acme/app", Tags: ".", Versions: "2"}, 1, "choose one"},
		{warm.Image{Name: "acme/app", Versions: strings.Repeat(">1 ", 1000)}, 1, "more than 1024 bytes"},
	} {
		plan, err := w.warmer.Plan(t.Context(), warm.Job{Images: []warm.Image{test.image}})
		if err != nil || plan.Images != test.want || !strings.Contains(plan.Entries[0].Error, test.error) {
			t.Errorf("%+v: %+v, %v", test.image, plan, err)
		}
	}
}

// One warms at a time, and it ends with its context: what was begun is not lost.
func TestWarmIsInterrupted(t *testing.T) {
	w := start(t, 0, 0)
	images := w.addImages(t, "acme/app", 30)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	var once sync.Once
	summary, err := w.warmer.Run(ctx, warm.Job{Images: images}, warm.Report{Result: func(warm.Result) {
		once.Do(func() {
			if _, err := w.warmer.Run(t.Context(), warm.Job{Images: images}, warm.Report{}); !errors.Is(err, warm.ErrBusy) {
				t.Errorf("a second one: %v", err)
			}
			cancel(stopped)
		})
	}})
	if !errors.Is(err, stopped) || summary.Done() == 0 || summary.Done() == 30 || !strings.Contains(summary.Text(time.Now()), "were not reached") {
		t.Errorf("%+v, %v", summary, err)
	}
	if summary, err := w.warmer.Run(t.Context(), warm.Job{Images: images}, warm.Report{}); err != nil || summary.Warmed+summary.Cached != 30 {
		t.Errorf("%+v, %v", summary, err)
	}
}

// What is wrong with one image is said of that, and the others are warmed.
func TestWarmWithFailures(t *testing.T) {
	w := start(t, 0, 0)
	images := append(w.addImages(t, "acme/app", 2), warm.Image{Name: "acme/app:none"}, warm.Image{Name: "UPPER"})
	failures := make(map[string]string)
	summary, err := w.warmer.Run(t.Context(), warm.Job{Images: images}, warm.Report{Result: func(r warm.Result) {
		if r.Outcome == warm.Failed {
			failures[r.Image] = r.Error
		}
	}})
	if err != nil || summary.Warmed != 2 || summary.Failed != 2 || len(failures) != 2 || !strings.Contains(failures["UPPER"], "invalid repository name") {
		t.Errorf("%+v, %v: %v", summary, err, failures)
	}
	for _, job := range []warm.Job{{}, {Images: images, Platforms: []string{"amiga"}}} {
		if _, err := w.warmer.Plan(t.Context(), job); err == nil {
			t.Errorf("%+v is planned", job)
		}
	}
}
