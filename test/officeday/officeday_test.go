package officeday

import (
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/test/mirrortest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// live runs the calendar, with pulls from registry.
func (o *office) live(t *testing.T, registry oci.Registry) (r result) {
	t.Helper()
	midnight := time.Now()
	known := make(map[int]bool)
	for _, e := range calendar() {
		<-time.After(time.Until(midnight.Add(e.at)))
		if e.move {
			o.publish(e.image)
			continue
		}
		r.pulls++
		via, err := o.pull(t, registry, e.image)
		synctest.Wait() // waits for the fill
		switch {
		case err == nil:
			known[e.image] = true
		case known[e.image]:
			r.failedOld++
		default:
			r.failedNew++
		}
		if err == nil && via == oci.Stale {
			r.stale++
		}
	}
	n := o.hub.Counters()
	r.counted, r.refused = n.ManifestGETs, n.Refused
	return r
}

// pull reads the index that the tag names, and its manifest.
func (o *office) pull(t *testing.T, registry oci.Registry, image int) (oci.Via, error) {
	t.Helper()
	ref, err := oci.ParseManifest(oci.DockerHub, repository(image), tag)
	check(t, err)
	index, err := read(t, registry, ref)
	if err != nil {
		return "", err
	}
	_, err = read(t, registry, ref.At(o.children[index.Digest]))
	return index.Via, err
}

// read fails the test for any error except the hub's limit.
func read(t *testing.T, registry oci.Registry, ref oci.Ref) (oci.Result, error) {
	t.Helper()
	content, err := registry.Open(t.Context(), ref)
	if err != nil {
		if !strings.Contains(err.Error(), "pull rate limit") {
			t.Fatal(err)
		}
		return oci.Result{}, err
	}
	_, err = io.Copy(io.Discard, content.Body)
	check(t, err)
	check(t, content.Close())
	return content.Result, nil
}

// TestOfficeDay compares the figures in docs/quota.md with the simulation.
func TestOfficeDay(t *testing.T) {
	rows := []string{
		"| limit | | pulls counted | failed, new image | failed, known image | stale | refused |",
		"|---|---|---|---|---|---|---|",
	}
	for _, limit := range []int{100, 200} {
		for _, policy := range []struct {
			name    string
			mirror  bool
			reserve int // per cent
		}{
			{"no mirror", false, 0},
			{"mirror, no reserve", true, 0},
			{"mirror, reserve 10 %", true, 10},
			{"mirror, reserve 50 %", true, 50},
		} {
			hub, err := hubsim.Start(hubsim.Options{Limit: limit})
			check(t, err)
			t.Cleanup(hub.Close)
			var r result
			synctest.Test(t, func(t *testing.T) {
				if !policy.mirror {
					r = newOffice(hub).live(t, mirrortest.NewRegistry(t, hub.URL(), hub.Transport()))
					return
				}
				up := mirrortest.Upstream(t, oci.DockerHub, hub.URL(), hub.Transport(), policy.reserve)
				mirror, stop := mirrortest.Run(t, mirrortest.Options(t, t.TempDir(), 1<<30, up))
				r = newOffice(hub).live(t, mirror.Tags)
				stop()
			})
			rows = append(rows, r.row(limit, policy.name))
			if policy.mirror && (r.failedOld > 0 || r.refused > 4*days) {
				t.Errorf("%d, %s: %d pulls of known images failed, %d requests were refused", limit, policy.name, r.failedOld, r.refused)
			}
			if windows := days * 4; r.counted > limit*windows {
				t.Errorf("%d, %s: %d pulls are more than %d windows allow", limit, policy.name, r.counted, windows)
			}
		}
	}
	table := strings.Join(rows, "\n")
	t.Log("\n" + table)
	doc, err := os.ReadFile("../../docs/quota.md")
	check(t, err)
	_, written, _ := strings.Cut(string(doc), "<!-- office-table -->\n")
	written, _, _ = strings.Cut(written, "\n<!-- /office-table -->")
	if written != table {
		t.Errorf("docs/quota.md has different figures:\n%s", written)
	}
}
