package fleet

import (
	"testing"
	"time"

	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/tag"
	"mirrord/internal/oci"
	"mirrord/internal/stack"
	"mirrord/test/mirrortest"
)

// Within a window one mirror asks what a tag names, and the others ask nothing.
func TestTags(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		first, second := w.start(), w.start()
		old := w.push(publicRepo, 1)
		w.pull(first, publicRepo, old)
		if n, _ := w.heads(); n != 1 {
			t.Errorf("the first mirror sends %d HEADs", n)
		}
		newer := w.push(publicRepo, 2)
		<-time.After(30 * time.Second)
		w.pull(second, publicRepo, old)
		if _, n := w.heads(); n != 0 {
			t.Errorf("the second mirror sends %d requests", n)
		}
		<-time.After(mirrortest.Fresh - 30*time.Second)
		w.pull(second, publicRepo, newer)
		w.pull(first, publicRepo, newer)
		if n, _ := w.heads(); n != 1 {
			t.Errorf("%d HEADs of two mirrors after the window", n)
		}
		if n := second.SharedTags.Stats(); n[tag.Used] != 1 || n[tag.Stale] != 1 {
			t.Errorf("lookups %v", n)
		}
	})
}

// A mirror with a login shares tags that the registry shows to everybody, and of others
// it writes nothing.
func TestPrivateTags(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.hub.AddBlob(privateRepo, []byte("anything"))
		w.hub.SetPrivate(privateRepo, account)
		public, private := w.push(publicRepo, 1), w.push(privateRepo, 2)
		member := w.start(w.withLogin)
		for range 3 {
			w.pull(member, privateRepo, private)
			<-time.After(mirrortest.Fresh)
		}
		if n := w.objects(keys.Tags); n != 0 {
			t.Errorf("%d tags of a private repository are in the bucket", n)
		}
		w.pull(member, publicRepo, public)
		if n := w.objects(keys.Tags); n != 1 {
			t.Errorf("%d tags are in the bucket, want that of the public repository", n)
		}
		w.heads()
		w.pull(w.start(), publicRepo, public)
		if n, _ := w.heads(); n != 0 {
			t.Errorf("another mirror sends %d HEADs", n)
		}

		w.hub.SetPrivate(publicRepo, account)
		secret := w.push(publicRepo, 3)
		<-time.After(time.Hour)
		w.pull(member, publicRepo, secret)
		stranger := w.start()
		ref, err := oci.ParseManifest(registry, publicRepo, "v1")
		check(t, err)
		if result, err := stranger.Registry.Resolve(t.Context(), ref); err == nil {
			t.Errorf("a mirror without a login has %s of what is private now", result.Digest)
		}
	})
}

// A mirror without a secret asks for itself, and so does one that is offline, which asks
// nobody.
func TestTagsAlone(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		image := w.push(publicRepo, 1)
		alone := w.start(func(o *stack.Options) { o.Fleet.Secret = keys.Secret{} })
		w.pull(alone, publicRepo, image)
		if n := w.objects(keys.Tags); n != 0 {
			t.Errorf("%d tags are in the bucket", n)
		}
		w.pull(w.start(), publicRepo, image)
		w.heads()
		offline := w.start(func(o *stack.Options) { o.Offline = true })
		ref, err := oci.ParseManifest(registry, publicRepo, "v1")
		check(t, err)
		if _, err := offline.Registry.Resolve(t.Context(), ref); !oci.IsUnknown(err) {
			t.Errorf("a tag that an offline mirror does not know: %v", err)
		}
		if n := len(offline.SharedTags.Stats()); n != 0 {
			t.Errorf("an offline mirror looks for tags in the bucket")
		}
		w.pull(alone, publicRepo, image)
		<-time.After(mirrortest.Fresh)
		w.pull(alone, publicRepo, image)
		if n, _ := w.heads(); n != 1 {
			t.Errorf("a mirror without a secret sends %d HEADs", n)
		}
	})
}
