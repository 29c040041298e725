package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mirrord/test/objectstore"
)

// fleetCrash is mirrors that share a bucket, of which now one and now another is killed, and
// the object store.
type fleetCrash struct {
	t       *testing.T
	rand    *rand.Rand
	store   *objectstore.Store
	members []*crash
	outages int // of the store
	deleted int // objects
}

const (
	fleetMembers = 3
	fleetClients = 3 // of each
)

// TestCrashFleet kills mirrors and their object store at random moments under load, while
// objects are deleted. Whatever the moment, no complete response has a wrong byte, and the
// clients of the other mirrors get everything: what a client waits for ends within 30 s.
// CRASH_SEED and CRASH_ROUNDS are as for TestCrash.
func TestCrashFleet(t *testing.T) {
	seed := setting(t, "CRASH_SEED", rand.Uint64())
	rounds := setting(t, "CRASH_ROUNDS", 50)
	t.Logf("CRASH_SEED=%d CRASH_ROUNDS=%d", seed, rounds)
	f := newFleetCrash(t, seed)
	for round := range rounds {
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
		f.round()
	}
	peers := int64(0)
	for _, m := range f.members {
		m.end()
		peers += m.crowd.peers.Load()
	}
	n := f.members[0].catalog.hub.Counters()
	t.Logf("%d outages of the object store, %d objects deleted; the hub sent %d manifests and %d blobs, mirrors %d to each other", f.outages, f.deleted, n.ManifestGETs, n.BlobGETs, peers)
	if peers == 0 {
		t.Error("no mirror has read from another one")
	}
}

func newFleetCrash(t *testing.T, seed uint64) *fleetCrash {
	t.Helper()
	dir := t.TempDir()
	store, err := objectstore.New(dir)
	check(t, err)
	t.Cleanup(func() { _ = store.Stop() })
	check(t, store.Start())
	key, secret := filepath.Join(dir, "key"), filepath.Join(dir, "fleet")
	check(t, os.WriteFile(key, []byte(objectstore.SecretKey), 0o600))
	check(t, os.WriteFile(secret, []byte("the secret of all mirrors"), 0o600))
	f := &fleetCrash{t: t, rand: rand.New(rand.NewPCG(seed, 1)), store: store}
	images := newCrashCatalog(t)
	for i := range uint64(fleetMembers) {
		address, err := freeAddress()
		check(t, err)
		f.members = append(f.members, newCrash(t, seed+i, images, "--fleet-secret-file="+secret, "--fleet-listen="+address,
			"--fleet-s3=endpoint="+store.URL()+",bucket="+objectstore.Bucket+",region="+objectstore.Region+
				",path_style=true,access_key="+objectstore.AccessKey+",secret_key_file="+key))
	}
	for i, m := range f.members {
		m.serve(fleetClients, seed+uint64(i))
	}
	return f
}

// round has a mirror live through a round of its own, and in some rounds the store fail
// meanwhile.
func (f *fleetCrash) round() {
	f.t.Helper()
	if f.rand.IntN(4) == 0 {
		f.outages++
		pause(f.t.Context(), time.Duration(f.rand.Int64N(int64(300*time.Millisecond))))
		check(f.t, f.store.Stop())
		defer func() { check(f.t, f.store.Start()) }()
	} else {
		f.delete()
	}
	f.members[f.rand.IntN(len(f.members))].round()
}

// delete removes half of the content in the bucket, as when it is old, so that mirrors have
// something to agree on.
func (f *fleetCrash) delete() {
	f.t.Helper()
	objects, err := filepath.Glob(f.store.File("v1/pub/b/sha256/*"))
	check(f.t, err)
	for _, object := range objects {
		if f.rand.IntN(2) == 0 && os.Remove(object) == nil {
			f.deleted++
		}
	}
}
