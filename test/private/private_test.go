package private

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/membership"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/mirrortest"
)

// in runs a test in a bubble, in which time costs nothing.
func in(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

var (
	layer = ocitest.Content(100_000, 1)
	image = []byte(`{"schemaVersion":2,"mediaType":"` + manifestType + `"}`)
)

// addSecret adds a private image.
func (w *world) addSecret() {
	w.corp.AddBlob(secretRepo, layer)
	w.corp.AddManifest(secretRepo, "v1", manifestType, image)
}

// Public images of the same upstream are served to everybody, private ones only to those
// who are granted them.
func TestPublicAndPrivate(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		open := ocitest.Content(50_000, 2)
		w.corp.AddBlob(publicRepo, open)
		w.corp.AddManifest(publicRepo, "v1", manifestType, image)
		d := oci.FromBytes(image).String()
		for range 2 { // cold and warm
			w.withheld(w.bob(), manifest(t, corp, secretRepo, "v1"), oci.Denied)
			w.withheld(w.bob(), blob(t, corp, secretRepo, layer), oci.Denied)
			w.withheld(w.bob(), manifest(t, corp, secretRepo, d), oci.Denied)
			w.served(w.alice(), manifest(t, corp, secretRepo, "v1"), image)
			w.served(w.alice(), manifest(t, corp, secretRepo, d), image)
			w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
			w.served(w.bob(), manifest(t, corp, publicRepo, "v1"), image)
			w.served(w.bob(), blob(t, corp, publicRepo, open), open)
			w.served(w.bob(), blob(t, other, otherRepo, []byte("anything")), []byte("anything"))
		}
		for _, q := range []struct {
			ctx  context.Context
			repo string
			ok   bool
		}{{w.bob(), secretRepo, false}, {w.alice(), secretRepo, true}, {w.bob(), publicRepo, true}} {
			listing, err := oci.ParseTags(corp, q.repo, "")
			check(t, err)
			if _, err := w.mirror.Registry.List(q.ctx, listing); (err == nil) != q.ok {
				t.Errorf("tags of %s: %v", q.repo, err)
			}
			if w.mirror.Membership.Visible(q.ctx, corp, q.repo) != q.ok {
				t.Errorf("%s is visible: %v", q.repo, !q.ok)
			}
		}
	})
}

// attack tries to get private content, a layer and a manifest by digest, under every
// other name, and as it is.
func (w *world) attack(ctx context.Context, content []byte, parse func(upstream, repo string) oci.Ref) {
	w.t.Helper()
	unknown := []oci.Code{oci.BlobUnknown, oci.ManifestUnknown, oci.NameUnknown, oci.Denied}
	w.withheld(ctx, parse(corp, publicRepo), unknown...)
	w.withheld(ctx, parse(other, otherRepo), unknown...)
	w.withheld(ctx, parse(corp, secondRepo), unknown...)
	w.withheld(ctx, parse(corp, "team/none"), unknown...)
	w.withheld(w.bob(), parse(corp, secretRepo), oci.Denied)
}

// attackAll attacks by those who may have nothing private, and by those who may have
// another private repository.
func (w *world) attackAll() {
	w.t.Helper()
	w.grants = func(ctx context.Context, upstream, repository, tag string) bool {
		return onlyAlice(ctx, upstream, repository, tag) || repository == secondRepo
	}
	for _, ctx := range []context.Context{w.bob(), w.alice()} {
		if w.corp.Counters().BlobGETs > 0 { // it is up: the second repository is theirs
			w.served(ctx, blob(w.t, corp, secondRepo, []byte("anything")), []byte("anything"))
		}
		w.attack(ctx, layer, func(upstream, repo string) oci.Ref { return blob(w.t, upstream, repo, layer) })
		w.attack(ctx, image, func(upstream, repo string) oci.Ref {
			return manifest(w.t, upstream, repo, oci.FromBytes(image).String())
		})
		w.attack(ctx, image, func(upstream, repo string) oci.Ref { return blob(w.t, upstream, repo, image) })
	}
}

// Knowing the digest of what is cached is not enough.
func TestCachedUnderOtherNames(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		w.served(w.alice(), manifest(t, corp, secretRepo, "v1"), image)
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
		w.attackAll()
		<-time.After(time.Minute) // it is stored
		w.attackAll()
	})
}

// A public manifest that refers to a private layer proves nothing.
func TestManifestThatRefersToPrivateLayer(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
		forged := []byte(`{"schemaVersion":2,"mediaType":"` + manifestType + `","layers":[{"digest":"` + oci.FromBytes(layer).String() + `","size":100000}]}`)
		w.corp.AddManifest(publicRepo, "forged", manifestType, forged)
		w.other.AddManifest(otherRepo, "forged", manifestType, forged)
		w.served(w.bob(), manifest(t, corp, publicRepo, "forged"), forged)
		w.served(w.bob(), manifest(t, other, otherRepo, "forged"), forged)
		w.attackAll()
	})
}

// A client joins the fetch of another one only if it may have the content.
func TestFlightOfAnother(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		heal := w.corp.Inject(hubsim.Fault{Op: "cdn", StallAfter: 1000})
		end := w.begin(w.alice(), blob(t, corp, secretRepo, layer))
		w.attackAll()
		heal()
		end()
	})
}

// What is left of a failed fetch is completed for nobody else.
func TestPartOfAnother(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		heal := w.corp.Inject(hubsim.Fault{Op: "cdn", StallAfter: 50_000})
		content, err := w.mirror.Registry.Open(w.alice(), blob(t, corp, secretRepo, layer))
		check(t, err)
		_, err = io.ReadFull(content.Body, make([]byte, 50_000))
		check(t, err)
		w.corp.Down()
		if _, err := io.Copy(io.Discard, content.Body); err == nil {
			t.Error("the download did not fail")
		}
		_ = content.Close()
		heal()
		check(t, w.corp.Up())
		<-time.After(time.Minute) // breakers close
		w.attackAll()
		before := w.corp.Counters().RangeGETs
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
		if w.corp.Counters().RangeGETs == before {
			t.Error("there was no part to resume from")
		}
	})
}

// After a restart what is known is known, and after the loss of the index it is asked for
// again.
func TestRestart(t *testing.T) {
	for name, lose := range map[string]bool{"index": false, "lost index": true} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.addSecret()
				open := ocitest.Content(50_000, 2)
				w.corp.AddBlob(publicRepo, open)
				w.served(w.alice(), manifest(t, corp, secretRepo, "v1"), image)
				w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
				w.served(w.bob(), blob(t, corp, publicRepo, open), open)
				if lose {
					w.stop()
					w.index = new(memory)
				}
				w.restart()
				<-time.After(time.Minute) // files are found
				w.attackAll()
				before := w.corp.Counters()
				w.served(w.bob(), blob(t, corp, publicRepo, open), open)
				if asked := w.corp.Counters().BlobHEADs - before.BlobHEADs; asked > 0 != lose {
					t.Errorf("%d HEADs for what is public", asked)
				}
				w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
			})
		})
	}
}

// That a tag is served from the cache does not say that the upstream still gives access.
func TestCachedTagGivesNoAccess(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		w.served(w.alice(), manifest(t, corp, secretRepo, "v1"), image)
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
		<-time.After(240 * time.Second) // the token of the upstream lasts for 300
		w.served(w.alice(), manifest(t, corp, secretRepo, "v1"), image)
		w.corp.SetPrivate(secretRepo, "someone else")
		<-time.After(mirrortest.Fresh - time.Second)
		w.served(w.alice(), manifest(t, corp, secretRepo, "v1"), image)
		<-time.After(2 * time.Second)
		w.withheld(w.alice(), blob(t, corp, secretRepo, layer), oci.Denied, oci.NameUnknown)
	})
}

// While the upstream is down what is known is served, and what is not is withheld.
func TestUpstreamDown(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		open := ocitest.Content(50_000, 2)
		w.corp.AddBlob(publicRepo, open)
		w.served(w.alice(), manifest(t, corp, secretRepo, "v1"), image)
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
		w.served(w.bob(), blob(t, corp, publicRepo, open), open)
		w.corp.Down()
		<-time.After(time.Hour)
		begun := time.Now()
		w.served(w.bob(), blob(t, corp, publicRepo, open), open)
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
		w.withheld(w.bob(), blob(t, corp, secretRepo, layer), oci.Denied)
		w.withheld(w.alice(), blob(t, corp, publicRepo, layer), oci.Unavailable, oci.BlobUnknown)
		w.withheld(w.bob(), blob(t, corp, "team/new", open), oci.Unavailable)
		if waited := time.Since(begun); waited > 5*time.Second {
			t.Errorf("an upstream that is down cost %s", waited)
		}
		check(t, w.corp.Up())
	})
}

// A missing tag of a public repository is unknown, and not denied.
func TestMissingIsUnknown(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.withheld(w.bob(), manifest(t, corp, publicRepo, "none"), oci.ManifestUnknown)
		w.withheld(w.bob(), blob(t, corp, publicRepo, layer), oci.BlobUnknown)
	})
}

// A cold pull of a public image costs one HEAD more for its repository, and none for each
// blob; a warm one costs nothing.
func TestCost(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.corp.AddManifest(publicRepo, "v1", manifestType, image)
		blobs := [][]byte{ocitest.Content(1000, 4), ocitest.Content(2000, 5), ocitest.Content(3000, 6)}
		for _, b := range blobs {
			w.corp.AddBlob(publicRepo, b)
		}
		pull := func() {
			for _, ref := range []oci.Ref{manifest(t, corp, publicRepo, "v1"), manifest(t, corp, publicRepo, oci.FromBytes(image).String())} {
				_, _, err := ocitest.Read(w.bob(), w.mirror.Registry, ref)
				check(t, err)
			}
			for _, b := range blobs {
				_, _, err := ocitest.Read(w.bob(), w.mirror.Registry, blob(t, corp, publicRepo, b))
				check(t, err)
			}
		}
		pull()
		if n := w.corp.Counters(); n.ManifestHEADs != 2 || n.ManifestGETs != 1 || n.BlobHEADs != 0 || n.TagLists != 0 {
			t.Errorf("a cold pull: %+v", n)
		}
		w.corp.Reset()
		pull()
		if n := w.corp.Counters(); n.Requests != 0 {
			t.Errorf("a warm pull: %+v", n)
		}
	})
}

// A pull of a private image costs one HEAD more, to learn that the repository is private,
// and a warm one nothing while access is assumed.
func TestCostOfPrivate(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		pull := func() {
			for _, ref := range []oci.Ref{manifest(t, corp, secretRepo, "v1"), blob(t, corp, secretRepo, layer)} {
				_, _, err := ocitest.Read(w.alice(), w.mirror.Registry, ref)
				check(t, err)
			}
		}
		pull()
		if n := w.corp.Counters(); n.ManifestHEADs != 1 || n.ManifestGETs != 1 || n.BlobHEADs != 0 || n.Challenges != 1 {
			t.Errorf("a cold pull: %+v", n)
		}
		w.corp.Reset()
		pull()
		if n := w.corp.Counters(); n.Requests != 0 {
			t.Errorf("a warm pull: %+v", n)
		}
	})
}

// An upstream that hangs holds up one request for what is cached, not every one.
func TestUpstreamHangs(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		open := ocitest.Content(50_000, 2)
		w.corp.AddBlob(publicRepo, open)
		w.served(w.bob(), blob(t, corp, publicRepo, open), open)
		defer w.corp.Inject(hubsim.Fault{Latency: time.Hour})()
		<-time.After(time.Hour)
		waited := time.Duration(0)
		for range 20 {
			begun := time.Now()
			w.served(w.bob(), blob(t, corp, publicRepo, open), open)
			waited += time.Since(begun)
			<-time.After(2 * time.Second)
		}
		if waited > 2*time.Second {
			t.Errorf("warm requests waited %s", waited)
		}
	})
}

// An index that cannot be written costs nothing but requests after a restart.
func TestIndexFails(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		index := &memory{broken: true}
		w.stop()
		w.index = index
		w.start()
		w.addSecret()
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
		<-time.After(time.Minute)
		w.attackAll()
		index.mu.Lock()
		index.broken = false
		index.mu.Unlock()
		<-time.After(time.Minute)
		if len(index.records) == 0 {
			t.Error("what is known was not written later")
		}
	})
}

// Nobody is granted anything when private content is denied.
func TestDeny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policy = membership.Deny
		w.addSecret()
		w.withheld(w.alice(), manifest(t, corp, secretRepo, "v1"), oci.Denied)
		_, err := w.mirror.Registry.Resolve(w.alice(), manifest(t, corp, secretRepo, "v1"))
		var e *oci.Error
		if !errors.As(err, &e) {
			t.Error(err)
		}
	})
}

// Another upstream that claims to have private content has to send it: what the cache has
// is not served for its word.
func TestUpstreamThatClaimsToHaveIt(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
		<-time.After(time.Minute) // it is stored
		claim := w.other.Inject(hubsim.Fault{Op: "blob", Match: blob(t, other, otherRepo, layer).Digest().Encoded(), Status: 200, Body: "anything", ContentType: "application/octet-stream"})
		if got, _, err := ocitest.Read(w.bob(), w.mirror.Registry, blob(t, other, otherRepo, layer)); err == nil || len(got) > len("anything") {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		claim()
		w.other.AddBlob(otherRepo, layer)
		<-time.After(time.Minute)
		w.served(w.bob(), blob(t, other, otherRepo, layer), layer)
		before := w.other.Counters().Requests
		w.served(w.bob(), blob(t, other, otherRepo, layer), layer)
		if asked := w.other.Counters().Requests - before; asked > 0 {
			t.Errorf("%d requests for what it has sent", asked)
		}
	})
}
