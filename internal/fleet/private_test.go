package fleet_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func secretOf(t *testing.T, text string) keys.Secret {
	t.Helper()
	s, err := keys.ReadSecret(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What may be private is read from the bucket only after the upstream has said that its
// repository has it, and by mirrors with the fleet's secret.
func TestPrivate(t *testing.T) {
	secret := secretOf(t, "the secret of all mirrors of the fleet")
	content := ocitest.Content(1000, 1)
	ref := ocitest.BlobRef(t, oci.FromBytes(content))
	for name, test := range map[string]struct {
		secret  keys.Secret
		public  bool // the repository
		has     bool // the upstream
		resized bool // the object has more bytes than the upstream says
		via     oci.Via
		methods string // that the upstream is called by
	}{
		"allowed":        {secret: secret, has: true, via: oci.Shared, methods: "Resolve"},
		"denied":         {secret: secret, methods: "Resolve Open"},
		"another size":   {secret: secret, has: true, resized: true, via: oci.Fill, methods: "Resolve Open"},
		"public":         {secret: secret, public: true, has: true, via: oci.Fill, methods: "Open"},
		"another secret": {secret: secretOf(t, "the secret of some other fleet"), has: true, via: oci.Fill, methods: "Open"},
		"not shared":     {has: true, via: oci.Fill, methods: "Open"},
	} {
		t.Run(name, func(t *testing.T) {
			fake, memory := new(ocitest.Fake), buckettest.NewMemory()
			if test.has {
				fake.AddBlob(ref.Repository(), content)
			}
			object := content
			if test.resized {
				object = ocitest.Content(1_000_000, 1)
			}
			if _, err := memory.Put(t.Context(), secret.Private(ref), object, bucket.Cond{}); err != nil {
				t.Fatal(err)
			}
			r := fleet.New(fleet.Options{Next: fake, Bucket: memory, Private: test.secret, Public: func(oci.Ref) bool { return test.public }})
			_, result, err := ocitest.Read(t.Context(), r, ref)
			if test.has != (err == nil) {
				t.Fatalf("via %s, %v", result.Via, err)
			}
			if shared := err == nil && result.Via == oci.Shared; shared != (test.via == oci.Shared) {
				t.Errorf("it is read via %s", result.Via)
			}
			var methods []string
			for _, method := range []string{"Resolve", "Open"} {
				if fake.Calls(method, ref.Digest().String()) > 0 {
					methods = append(methods, method)
				}
			}
			if got := strings.Join(methods, " "); got != test.methods {
				t.Errorf("the upstream was asked by %q, want %q", got, test.methods)
			}
		})
	}
}

// What is not everybody's is uploaded under the name of its repository, if that is wanted.
func TestUploadPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMirror(t)
		m.private = true
		secret := secretOf(t, "the secret of all mirrors of the fleet")
		m.registry = fleet.New(fleet.Options{Next: new(ocitest.Fake), Bucket: m.memory, Private: secret, Public: func(oci.Ref) bool { return false }})
		ref := m.cache(ocitest.Content(1000, 1))
		m.run(time.Second, func(u *fleet.Uploads) { u.Add(ref) })
		if _, err := m.memory.Get(t.Context(), secret.Private(ref), 0, ""); err != nil {
			t.Error(err)
		}
		if _, err := m.memory.Get(t.Context(), keys.Blob(ref.Digest()), 0, ""); err == nil {
			t.Error("it is in the bucket as public content")
		}
	})
}
