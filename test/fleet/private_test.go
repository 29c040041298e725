package fleet

import (
	"testing"

	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/stack"
)

// sharing has a mirror share private content.
func sharing(o *stack.Options) { o.Fleet.SharePrivate = true }

// pulls returns how many manifests the registry sends during work.
func (w *world) pulls(work func()) int {
	before := w.hub.Counters().ManifestGETs
	work()
	return w.hub.Counters().ManifestGETs - before
}

// wantNone wants a mirror to have nothing of a repository by a digest.
func (w *world) wantNone(mirror *stack.Stack, repo string, d oci.Digest) {
	w.t.Helper()
	ref, err := oci.ParseManifest(registry, repo, d.String())
	check(w.t, err)
	if got, _, err := ocitest.Read(w.t.Context(), mirror.Registry, ref); err == nil {
		w.t.Errorf("%s has %d bytes", ref, len(got))
	}
}

// Private content in the bucket is read by a mirror only after the registry has let its own
// login have it, and under the name of its repository alone.
func TestPrivateContent(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.hub.AddBlob(privateRepo, []byte("anything"))
		w.hub.AddBlob(publicRepo, []byte("anything"))
		w.hub.SetPrivate(privateRepo, account)
		content := w.push(privateRepo, 1)
		digest := oci.FromBytes(content)

		if n := w.pulls(func() { w.pull(w.start(w.withLogin), privateRepo, content) }); n != 1 || w.objects("v1/pub/b/")+w.objects(keys.Private) != 0 {
			t.Errorf("without sharing: %d pulls, and %d objects", n, w.objects(""))
		}
		if n := w.pulls(func() { w.pull(w.start(w.withLogin, sharing), privateRepo, content) }); n != 1 {
			t.Errorf("the first mirror has pulled %d times", n)
		}
		if public, private := w.objects(keys.Blobs), w.objects(keys.Private); public != 0 || private != 1 {
			t.Errorf("%d public and %d private objects, want one that is private", public, private)
		}
		if n := w.pulls(func() { w.pull(w.start(w.withLogin, sharing), privateRepo, content) }); n != 0 {
			t.Errorf("a mirror with the login has pulled %d times, want it from the bucket", n)
		}

		w.wantNone(w.start(sharing), privateRepo, digest)
		w.wantNone(w.start(sharing), publicRepo, digest)
		w.wantNone(w.start(w.withLogin, sharing), publicRepo, digest)
		w.hub.SetPrivate(privateRepo, "somebody else")
		w.wantNone(w.start(w.withLogin, sharing), privateRepo, digest)
	})
}
