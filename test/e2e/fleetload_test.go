//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// hashing is for clients that hash what they get, in the place of many programs.
var hashing = &http.Client{
	Transport: &http.Transport{ResponseHeaderTimeout: 30 * time.Second, MaxIdleConnsPerHost: 100},
	Timeout:   time.Minute,
}

// digestOf gets something from a mirror whole, and returns its digest.
func digestOf(url string) (string, error) {
	resp, err := hashing.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, resp.Body); err != nil {
		return "", fmt.Errorf("%s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, resp.Status)
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), nil
}

// errWrong is a complete response with other bytes than it should have.
type errWrong struct{ url, got string }

func (e errWrong) Error() string { return e.url + " has the digest " + e.got }

// pullImage pulls an image from the mirror, three blobs at a time, and hashes all of it.
func (m *mirror) pullImage(img image) error {
	repo, tag, _ := strings.Cut(strings.TrimPrefix(img.ref, "docker.io/"), ":")
	base := m.url() + "/v2/" + repo
	get := func(what, want string) error {
		url := base + what
		got, err := digestOf(url)
		if err == nil && got != want {
			err = errWrong{url, got}
		}
		return err
	}
	if err := get("/manifests/"+tag, img.manifests[0]); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(3)
	for _, blob := range img.blobs {
		group.Go(func() error { return get("/blobs/"+blob, blob) })
	}
	return group.Wait()
}

// publishMany adds images of their own layers to the hub.
func publishMany(t *testing.T, hub *hubsim.Hub, n, layers int, size int64) []image {
	t.Helper()
	images := make([]image, n)
	for i := range images {
		img, err := hubsim.Layers(layers, size, uint64(100+i), hubsim.OCI)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("load", i)
		top, err := hub.AddImage("library/"+name, "v1", img)
		if err != nil {
			t.Fatal(err)
		}
		images[i] = describe(t, "docker.io/library/"+name+":v1", img, top)
	}
	return images
}

// load is clients that pull all images, each from one of the mirrors and in an order of its
// own. Only the end of its own mirror is an excuse for a response that breaks off.
type load struct {
	t       *testing.T
	mirrors []*mirror
	lives   []atomic.Int64 // of each mirror: odd from just before its end until it is back
	broken  atomic.Int64   // pulls that had to be repeated
	clients sync.WaitGroup
}

func startLoad(t *testing.T, images []image, clients int, mirrors ...*mirror) *load {
	t.Helper()
	l := &load{t: t, mirrors: mirrors, lives: make([]atomic.Int64, len(mirrors))}
	for i := range mirrors {
		for range clients {
			l.clients.Go(func() {
				for _, n := range rand.Perm(len(images)) {
					l.insist(i, images[n])
				}
			})
		}
	}
	return l
}

// insist pulls an image from a mirror, again as long as the end of that breaks it off.
func (l *load) insist(mirror int, img image) {
	for range 1000 {
		life := l.lives[mirror].Load()
		err := l.mirrors[mirror].pullImage(img)
		if err == nil {
			return
		}
		l.broken.Add(1)
		if _, wrong := err.(errWrong); wrong || life%2 == 0 && life == l.lives[mirror].Load() {
			l.t.Errorf("mirror %d: %v", mirror, err)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	l.t.Errorf("mirror %d does not come back for %s", mirror, img.ref)
}

// killOne kills a mirror, waits, and starts it again.
func (l *load) killOne(mirror int, down time.Duration) {
	l.t.Helper()
	l.lives[mirror].Add(1)
	l.mirrors[mirror].process.kill()
	time.Sleep(down)
	l.mirrors[mirror].start(l.t)
	l.lives[mirror].Add(1)
}

// wantShared waits until the mirrors have uploaded all of the images, and checks that the
// bucket has them byte for byte.
func (s *objectStore) wantShared(t *testing.T, images []image, mirrors ...*mirror) {
	t.Helper()
	for _, img := range images {
		for _, m := range mirrors {
			m.uploaded(t, s, img)
		}
		for _, digest := range slices.Concat(img.manifests, img.blobs) {
			if raw, err := os.ReadFile(s.object(digest)); err != nil || oci.FromBytes(raw).String() != digest {
				t.Errorf("the bucket has other bytes as %s: %v", digest, err)
			}
		}
	}
}

// sum adds up the values of a metric over mirrors, for the series that have a label.
func sum(t *testing.T, metric, label string, mirrors ...*mirror) (n int) {
	t.Helper()
	for _, m := range mirrors {
		for series, value := range m.metrics(t) {
			if strings.HasPrefix(series, metric) && strings.Contains(series, label) {
				n += int(value)
			}
		}
	}
	return n
}
