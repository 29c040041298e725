package cache_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

const (
	otherUpstream = "other.example"
	otherRepo     = "mallory/app"
)

// inBoth adds one manifest to two repositories of two upstreams, with two media types.
func inBoth(t *testing.T, fake *ocitest.Fake, raw, mine, theirs string) (ref, other oci.Ref) {
	t.Helper()
	fake.AddManifest(otherRepo, "", theirs, []byte(raw))
	d := fake.AddManifest(ocitest.Repo, "", mine, []byte(raw))
	other, err := oci.ParseManifest(otherUpstream, otherRepo, d.String())
	if err != nil {
		t.Fatal(err)
	}
	return ocitest.ManifestRef(t, d.String()), other
}

// mustBe checks the media type that HEAD and GET return.
func (f *fixture) mustBe(t *testing.T, ref oci.Ref, want string) {
	t.Helper()
	_, opened, err := ocitest.Read(t.Context(), f, ref)
	if err != nil || opened.MediaType != want {
		t.Errorf("GET %s: %q, %v; want %q", ref, opened.MediaType, err, want)
	}
	f.Settled(t)
	resolved, err := f.Resolve(t.Context(), ref)
	if err != nil || resolved.MediaType != want {
		t.Errorf("HEAD %s: %q, %v; want %q", ref, resolved.MediaType, err, want)
	}
}

// A media type that the bytes of a manifest determine holds for all repositories, after
// one fetch, whatever the first upstream calls it.
func TestMediaTypeOfTheBytes(t *testing.T) {
	const image, index = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex
	for raw, want := range map[string]string{
		`{"mediaType":"` + image + `"}`:       image,
		`{"manifests":[]}`:                    index,
		`{"config":{},"layers":[]}`:           image,
		`{"mediaType":"` + index + `","a":1}`: index,
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := new(ocitest.Fake)
			ref, other := inBoth(t, fake, raw, "application/vnd.mine+json", "application/vnd.theirs+json")
			f := start(t, fake)
			f.mustBe(t, other, want)
			f.mustBe(t, ref, want)
			f.Stop()
			f.Restart(t)
			f.mustBe(t, ref, want)
			if n := fake.Calls("Open", ref.Reference()); n != 1 {
				t.Errorf("%s is fetched %d times", raw, n)
			}
		})
	}
}

// A media type that the bytes leave open holds only for the repository that sent it, also
// after a restart and for concurrent requests.
func TestMediaTypeLeftOpen(t *testing.T) {
	const mine, theirs = "application/vnd.mine+json", "application/vnd.theirs+json"
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		ref, other := inBoth(t, fake, `{"a":1}`, mine, theirs)
		f := start(t, fake)
		f.mustBe(t, other, theirs)
		f.mustBe(t, ref, mine)
		f.mustBe(t, ref, mine)
		if n := fake.Calls("Open", ref.Reference()); n != 2 {
			t.Errorf("fetched %d times for two repositories", n)
		}
		f.Stop()
		f.Restart(t)
		f.mustBe(t, ref, mine)
		f.mustBe(t, other, theirs)
		if n := fake.Calls("Open", ref.Reference()); n != 3 {
			t.Errorf("fetched %d times after the restart", n-2)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		ref, _ := inBoth(t, fake, `{"a":2}`, mine, theirs)
		beside, err := oci.ParseManifest(ref.Upstream(), otherRepo, ref.Reference())
		if err != nil {
			t.Fatal(err)
		}
		fake.Fail(func(ocitest.Call) error { <-time.After(time.Second); return nil })
		f := start(t, fake)
		var clients sync.WaitGroup
		clients.Go(func() { f.mustBe(t, beside, theirs) })
		<-time.After(100 * time.Millisecond)
		clients.Go(func() { f.mustBe(t, ref, mine) }) // of the same upstream: they share a flight
		clients.Wait()
	})
}

// A media type recorded by an older mirrord is used until the manifest is read, and then
// corrected if its bytes determine another.
func TestMediaTypeOfAnOldRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		typed, _ := inBoth(t, fake, `{"manifests":[]}`, "application/vnd.mine+json", "")
		open, _ := inBoth(t, fake, `{"a":1}`, "application/vnd.mine+json", "")
		f := start(t, fake)
		f.mustBe(t, typed, ocispec.MediaTypeImageIndex)
		f.mustBe(t, open, "application/vnd.mine+json")
		f.Stop()
		for d, r := range f.Index.BlobRecords {
			r.MediaType, r.Origin = "application/vnd.old+json", ""
			f.Index.BlobRecords[d] = r
		}
		f.Restart(t)
		f.mustBe(t, typed, ocispec.MediaTypeImageIndex)
		f.mustBe(t, open, "application/vnd.old+json")
		f.Stop()
		if r := f.Index.BlobRecords[typed.Digest()]; r.MediaType != ocispec.MediaTypeImageIndex {
			t.Errorf("the record is not corrected: %+v", r)
		}
		if n := fake.Calls("Open", typed.Reference()) + fake.Calls("Open", open.Reference()); n != 2 {
			t.Errorf("%d fetches of two manifests", n)
		}
	})
}
