package tag_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/tag"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// told returns the object that a mirror has written for v1, which names d.
func told(t *testing.T, fake *ocitest.Fake, d oci.Digest) []byte {
	t.Helper()
	memory := buckettest.NewMemory()
	want(t, start(t, fake, memory), 0, d, oci.Pass)
	synctest.Wait()
	return raw(t, memory)
}

// What is not sealed with the secret, for this tag, is as good as absent, and replaced;
// what a newer mirrord has written is not.
func TestForeign(t *testing.T) {
	seal := func(t *testing.T, secret keys.Secret, key string, v any) []byte {
		object, err := secret.Seal(key, v)
		if err != nil {
			t.Fatal(err)
		}
		return object
	}
	for name, test := range map[string]struct {
		object   func(t *testing.T, right []byte) []byte
		replaced bool
	}{
		"empty":   {func(*testing.T, []byte) []byte { return nil }, true},
		"no JSON": {func(*testing.T, []byte) []byte { return []byte("<html>") }, true},
		"huge":    {func(_ *testing.T, right []byte) []byte { return append(bytes.Repeat([]byte(" "), 1<<20), right...) }, true},
		"changed": {func(_ *testing.T, right []byte) []byte {
			return bytes.Replace(right, []byte(`"seq":1`), []byte(`"seq":2`), 1)
		}, true},
		"of another tag": {func(t *testing.T, right []byte) []byte {
			return seal(t, secret(t, fleetSecret), secret(t, fleetSecret).Tag(ocitest.ManifestRef(t, "v2")), map[string]any{"digest": oci.FromBytes(nil)})
		}, true},
		"of another fleet": {func(t *testing.T, right []byte) []byte {
			return seal(t, secret(t, "the secret of other mirrors"), key(t), map[string]any{"digest": oci.FromBytes(nil)})
		}, true},
		"no digest": {func(t *testing.T, right []byte) []byte {
			return seal(t, secret(t, fleetSecret), key(t), map[string]any{"digest": "latest", "confirmed": time.Now()})
		}, true},
		"without a time": {func(t *testing.T, right []byte) []byte {
			return seal(t, secret(t, fleetSecret), key(t), map[string]any{"digest": oci.FromBytes(nil)})
		}, true},
		"of a newer mirrord": {func(_ *testing.T, right []byte) []byte {
			return bytes.Replace(right, []byte(`"v":1`), []byte(`"v":2`), 1)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, memory := new(ocitest.Fake), buckettest.NewMemory()
				old := push(fake, 1)
				object := test.object(t, told(t, fake, old))
				replace(t, memory, object)
				newer := push(fake, 2)
				r := start(t, fake, memory)
				want(t, r, window, newer, oci.Pass)
				synctest.Wait()
				lookup := tag.Foreign
				if name == "without a time" {
					lookup = tag.Stale
				}
				if n := r.Stats(); n[lookup] != 1 {
					t.Errorf("lookups %v", n)
				}
				if test.replaced {
					want(t, start(t, fake, memory), window, newer, oci.Shared)
				} else if !bytes.Equal(raw(t, memory), object) {
					t.Error("it is replaced")
				}
			})
		})
	}
}

// What was true once is not true again because somebody writes it again.
func TestReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		old := told(t, fake, push(fake, 1))
		<-time.After(window)
		replace(t, memory, old)
		newer := push(fake, 2)
		want(t, start(t, fake, memory), window, newer, oci.Pass)
		synctest.Wait()
		want(t, start(t, fake, memory), window, newer, oci.Shared)
	})
}

// What a mirror of the fleet says of a manifest is held to what can be true.
func TestImpossible(t *testing.T) {
	for name, o := range map[string]map[string]any{
		"type": {"media_type": "text/html\r\nX-Header: 1", "size": 100},
		"size": {"media_type": "application/vnd.oci.image.index.v1+json", "size": oci.MaxManifestSize + 1},
		"none": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, memory := new(ocitest.Fake), buckettest.NewMemory()
				d := oci.FromBytes(nil)
				o["digest"], o["confirmed"] = d, time.Now()
				object, err := secret(t, fleetSecret).Seal(key(t), o)
				if err != nil {
					t.Fatal(err)
				}
				replace(t, memory, object)
				got := want(t, start(t, fake, memory), window, d, oci.Shared)
				if got.MediaType != "" || got.Size != oci.UnknownSize {
					t.Errorf("described as %+v", got.Descriptor)
				}
			})
		})
	}
}

// The bucket tells who reads it neither the names of images nor the secret.
func TestTellsNoNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		object := string(told(t, fake, push(fake, 1))) + key(t)
		for _, name := range []string{ocitest.Upstream, ocitest.Repo, fleetSecret} {
			if strings.Contains(object, name) {
				t.Errorf("%q is in the bucket", name)
			}
		}
	})
}
