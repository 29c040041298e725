package private

import (
	"testing"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// What a login has fetched is not public when the login is removed, from the configuration
// or because there is none in it.
func TestLoginRemoved(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		w.served(w.alice(), manifest(t, corp, secretRepo, "v1"), image)
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
		w.loginRemoved = true
		w.restart()
		w.withheld(w.bob(), manifest(t, corp, secretRepo, oci.FromBytes(image).String()), oci.NameUnknown, oci.Denied)
		w.withheld(w.bob(), blob(t, corp, secretRepo, layer), oci.NameUnknown, oci.Denied)
		w.withheld(w.bob(), blob(t, corp, publicRepo, layer), oci.BlobUnknown)
		w.served(w.bob(), blob(t, corp, publicRepo, []byte("anything")), []byte("anything"))
	})
}

// Access that the upstream has taken away ends with the freshness of what was known, by
// tag and by digest, and comes back.
func TestRevokedAccess(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		refs := []oci.Ref{manifest(t, corp, secretRepo, "v1"), manifest(t, corp, secretRepo, oci.FromBytes(image).String())}
		for _, ref := range refs {
			w.served(w.alice(), ref, image)
		}
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
		w.corp.SetPrivate(secretRepo, "someone else")
		<-time.After(6 * time.Minute) // the token expires, too
		w.withheld(w.alice(), blob(t, corp, secretRepo, layer), oci.Denied, oci.NameUnknown)
		for _, ref := range refs {
			w.withheld(w.alice(), ref, oci.Denied, oci.NameUnknown)
		}
		w.corp.SetPrivate(secretRepo, account)
		<-time.After(2 * time.Minute)
		w.served(w.alice(), refs[0], image)
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
	})
}

// A repository that becomes public or private is noticed.
func TestVisibilityChanges(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		w.withheld(w.bob(), manifest(t, corp, secretRepo, "v1"), oci.Denied)
		w.corp.SetPublic(secretRepo)
		<-time.After(15 * time.Minute)
		w.served(w.bob(), manifest(t, corp, secretRepo, "v1"), image)
		w.corp.SetPrivate(secretRepo, account)
		later := ocitest.Content(1000, 3)
		w.corp.AddBlob(secretRepo, later)
		<-time.After(15 * time.Minute)
		w.withheld(w.bob(), manifest(t, corp, secretRepo, "v1"), oci.Denied)
		w.withheld(w.bob(), blob(t, corp, secretRepo, later), oci.Denied)
	})
}

// That a tag is denied ends access by digest, too, which was checked a moment ago.
func TestDenialEndsAccess(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		tag, digest := manifest(t, corp, secretRepo, "v1"), blob(t, corp, secretRepo, layer)
		w.served(w.alice(), tag, image)
		w.served(w.alice(), digest, layer)
		w.corp.SetPrivate(secretRepo, "someone else")
		<-time.After(260 * time.Second) // its token is still good
		w.served(w.alice(), digest, layer)
		<-time.After(45 * time.Second) // and is not any more
		w.served(w.alice(), digest, layer)
		w.withheld(w.alice(), tag, oci.Denied, oci.NameUnknown)
		w.withheld(w.alice(), digest, oci.Denied, oci.NameUnknown)
	})
}

// A login that the upstream refuses is access taken away, and not an outage: by tag and by
// digest it lasts as long as what was known is fresh, and the token.
func TestRefusedLogin(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.addSecret()
		open := ocitest.Content(50_000, 2)
		w.corp.AddBlob(publicRepo, open)
		refs := []oci.Ref{manifest(t, corp, secretRepo, "v1"), manifest(t, corp, secretRepo, oci.FromBytes(image).String())}
		for _, ref := range refs {
			w.served(w.alice(), ref, image)
		}
		w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
		w.served(w.bob(), blob(t, corp, publicRepo, open), open)
		w.corp.SetUsers(map[string]string{account: "another"})
		<-time.After(10 * time.Minute)
		w.withheld(w.alice(), blob(t, corp, secretRepo, layer), oci.Unavailable)
		for _, ref := range refs {
			w.withheld(w.alice(), ref, oci.Unavailable)
		}
		w.served(w.bob(), blob(t, corp, publicRepo, open), open)
	})
}
