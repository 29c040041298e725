//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/test/objectstore"
)

// objectStore is versitygw, a server of S3, over a directory. It can be started again.
type objectStore struct {
	home    *home
	program string
	address string
	process *process
}

const storeBucket = "fleet"

// startStore builds and starts an object store with an empty bucket.
func startStore(t *testing.T) *objectStore {
	t.Helper()
	program, err := objectstore.Program()
	if err != nil {
		t.Fatal(err)
	}
	s := &objectStore{home: newHome(t), address: freeAddress(t), program: program}
	if err := os.MkdirAll(s.home.path("data", storeBucket), 0o755); err != nil { // buckets are directories
		t.Fatal(err)
	}
	s.home.write(t, "secret", "secret\n")
	s.home.env = append(s.home.env, "ROOT_ACCESS_KEY=access", "ROOT_SECRET_KEY=secret")
	s.start(t)
	return s
}

func (s *objectStore) start(t *testing.T) {
	t.Helper()
	s.process = s.home.start(t, s.program, "--port", s.address, "--quiet", "posix", s.home.path("data"))
	s.process.await(t, readyWithin, func() bool {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// object is the file of an object.
func (s *objectStore) object(digest string) string {
	return s.home.path("data", storeBucket, "office", "v1", "pub", "b", "sha256", encoded(digest))
}

// startMember starts a mirror of the fleet.
func startMember(t *testing.T, hub *hubsim.Hub, s *objectStore) *mirror {
	t.Helper()
	return startMemberWith(t, hub, s, "--tags-fresh", tagsFresh.String())
}

// startMemberWith is startMember with these settings in addition to those of the bucket.
func startMemberWith(t *testing.T, hub *hubsim.Hub, s *objectStore, settings ...string) *mirror {
	t.Helper()
	return startDaemon(t, append(settings, "--upstream", "name=docker.io,url="+hub.URL(),
		"--fleet-s3", "endpoint=http://"+s.address+",bucket="+storeBucket+",prefix=office,region=us-east-1,path_style=true,access_key=access,secret_key_file="+s.home.path("secret"))...)
}

// uploaded returns when the bucket has all of the image, and the mirror has nothing to
// upload. What a client has whole is stored, and then queued, a moment later.
func (m *mirror) uploaded(t *testing.T, s *objectStore, img image) {
	t.Helper()
	m.process.await(t, 2*time.Minute, func() bool {
		for _, digest := range slices.Concat(img.manifests, img.blobs) {
			if _, err := os.Stat(s.object(digest)); err != nil {
				return false
			}
		}
		return m.metrics(t)["mirrord_fleet_uploads_waiting"] == 0
	})
}

// awaitReadiness waits until /readyz says text.
func (m *mirror) awaitReadiness(t *testing.T, text string) {
	t.Helper()
	m.process.await(t, 2*time.Minute, func() bool {
		resp, err := http.Get("http://" + m.admin + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK && strings.Contains(string(raw), text)
	})
}

// What one mirror has fetched, the others get from the bucket, and Docker Hub counts it
// once. While the bucket is down each goes on alone; what it fetches meanwhile is in the
// bucket once that is back, across a kill.
func TestFleet(t *testing.T) {
	hub, store := startHub(t), startStore(t)
	first, second := startMember(t, hub, store), startMember(t, hub, store)
	img := publishLayers(t, hub, 8, 512<<10)
	pull := func(m *mirror, phase string) hubsim.Counters {
		t.Helper()
		c := newSkopeo(t, debian12, m.address)
		return spent(t, hub, m, phase, func() {
			if err := c.pull(img.ref); err != nil {
				t.Fatal(err)
			}
			check(t, c, img)
		})
	}
	wantNothing := func(n hubsim.Counters) {
		t.Helper()
		if n.ManifestGETs+n.BlobGETs > 0 {
			t.Errorf("the hub sent %d manifests and %d blobs, want none", n.ManifestGETs, n.BlobGETs)
		}
	}

	n := pull(first, "first")
	diff(t, "manifest GETs by digest", once(img.manifests), n.ManifestGETsByDigest)
	diff(t, "blob GETs from the first byte by digest", once(img.blobs), n.BlobGETsByDigest)
	first.uploaded(t, store, img)
	wantNothing(pull(second, "second"))
	via := 0
	for series, value := range second.metrics(t) {
		if strings.HasPrefix(series, "mirrord_requests_total{") && strings.Contains(series, `via="shared"`) {
			via += int(value)
		}
	}
	if want := len(img.blobs) + 1; via < want {
		t.Errorf("%d responses via shared, want %d", via, want)
	}

	store.process.kill()
	img = publishOne(t, hub, "library/other", 5)
	n = pull(second, "store down")
	diff(t, "blob GETs from the first byte by digest", once(img.blobs), n.BlobGETsByDigest)
	second.awaitReadiness(t, "bucket: ")
	second.process.kill()
	second.start(t)
	wantNothing(pull(second, "killed"))
	second.awaitReadiness(t, "bucket: ")
	store.start(t)
	second.awaitReadiness(t, "ready\n")
	second.uploaded(t, store, img)
	wantNothing(pull(startMember(t, hub, store), "third"))
}

// Wrong bytes in the bucket never reach a client as a whole blob, cost one pull that
// fails, and are replaced by right ones.
func TestFleetWrongBytes(t *testing.T) {
	hub, store := startHub(t), startStore(t)
	first, second := startMember(t, hub, store), startMember(t, hub, store)
	img := publishLayers(t, hub, 2, 512<<10)
	c := newSkopeo(t, debian12, first.address)
	if err := c.pull(img.ref); err != nil {
		t.Fatal(err)
	}
	first.uploaded(t, store, img)
	layer := img.blobs[1]
	right, err := os.ReadFile(store.object(layer))
	if err != nil {
		t.Fatal(err)
	}
	wrong := bytes.Clone(right)
	wrong[100<<10] ^= 1
	if err := os.WriteFile(store.object(layer), wrong, 0o644); err != nil {
		t.Fatal(err)
	}

	if n, ok := fetch(t, second.url()+"/v2/library/layers/blobs/"+layer); ok {
		t.Errorf("a client got all %d bytes of a wrong blob", n)
	}
	c = newSkopeo(t, debian12, second.address)
	if err := c.pull(img.ref); err != nil {
		t.Fatal(err)
	}
	check(t, c, img)
	second.process.await(t, 2*time.Minute, func() bool { // the object is replaced
		now, err := os.ReadFile(store.object(layer))
		return err == nil && bytes.Equal(now, right)
	})
	if log := second.process.tail(); !strings.Contains(log, "wrong bytes") {
		t.Errorf("the log does not say so:\n%s", log)
	}
}
