package deploy

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	hubAddress = "127.0.0.1:5050"
	hub        = "http://" + hubAddress

	// upstream makes a mirror use the simulator instead of Docker Hub.
	upstream = "MIRRORD_UPSTREAMS=name=docker.io,url=" + hub
)

// startHub starts the simulator of Docker Hub.
func startHub(t *testing.T, flags ...string) {
	t.Helper()
	c := exec.Command(filepath.Join(prepared, "hubsim"), append([]string{"serve", "--listen", hubAddress}, flags...)...)
	out, err := c.StdoutPipe()
	check(t, err)
	check(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "ratelimitpreview") { // the last image
			return
		}
	}
	t.Fatal("the simulator does not start")
}

// manifestGETs returns how many pulls the simulator has counted.
func manifestGETs(t *testing.T) int {
	t.Helper()
	var counters struct{ ManifestGETs int }
	_, text := get(t, hub+"/_sim/counters")
	decode(t, text, &counters)
	return counters.ManifestGETs
}

// pull pulls an image from the registry at base, such as http://127.0.0.1:5000, checking digests.
func pull(t *testing.T, base, name, tag string) {
	t.Helper()
	var manifest struct {
		Config struct{ Digest string }
		Layers []struct{ Digest string }
	}
	status, text := get(t, fmt.Sprintf("%s/v2/%s/manifests/%s", base, name, tag))
	if status != http.StatusOK {
		t.Fatalf("the manifest of %s: %d %s", name, status, text)
	}
	check(t, json.Unmarshal(text, &manifest))
	blobs := []string{manifest.Config.Digest}
	for _, layer := range manifest.Layers {
		blobs = append(blobs, layer.Digest)
	}
	if len(blobs) < 2 {
		t.Fatalf("%s has no layers: %s", name, text)
	}
	for _, digest := range blobs {
		status, blob := get(t, fmt.Sprintf("%s/v2/%s/blobs/%s", base, name, digest))
		sum := sha256.Sum256(blob)
		if got := "sha256:" + hex.EncodeToString(sum[:]); status != http.StatusOK || got != digest {
			t.Fatalf("%s: %d, %d bytes of %s", digest, status, len(blob), got)
		}
	}
}

func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	check(t, err)
	req.Header.Set("Accept", "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json")
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp.StatusCode, text
}

// await waits until the container serves a GET of url well.
func (r *running) await(t *testing.T, url string) {
	t.Helper()
	last := "nothing"
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		select {
		case err := <-r.ended:
			t.Fatalf("it ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		resp, err := http.Get(url)
		if err != nil {
			last = err.Error()
			continue
		}
		_ = resp.Body.Close()
		if last = resp.Status; resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("%s: %s", url, last)
}
