package tags_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// A fresh tag is asked for all the same, and only one that has moved is pulled, unless the
// pull is reserved.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		purse := new(purse)
		ref := ocitest.ManifestRef(t, "v1")
		first := oci.FromBytes(cachetest.Put(fake, "v1", 1))
		f := start(t, fake, withQuota(purse))
		var unknown *oci.Error
		if _, err := f.Refresh(t.Context(), ref); !errors.As(err, &unknown) || unknown.Code != oci.ManifestUnknown || fake.Calls("Resolve", "v1") > 0 {
			t.Errorf("unknown tag: %v", err)
		}
		if _, _, err := ocitest.Read(t.Context(), f, ref); err != nil {
			t.Fatal(err)
		}
		f.Settled(t)
		asked := fake.Calls("Resolve", "v1")
		if got, err := f.Refresh(t.Context(), ref); err != nil || got.From != first || got.To != first || got.Pulled || fake.Calls("Resolve", "v1") != asked+1 {
			t.Errorf("same: %+v, %v", got, err)
		}
		second := oci.FromBytes(cachetest.Put(fake, "v1", 2))
		purse.set(&oci.LimitError{Kind: oci.LimitReserve}, nil)
		if got, err := f.Refresh(t.Context(), ref); err != nil || got.From != first || got.To != second || got.Pulled || got.Unpulled == nil {
			t.Errorf("reserved: %+v, %v", got, err)
		}
		purse.set(nil, nil)
		if got, err := f.Refresh(t.Context(), ref); err != nil || got.From != first || got.To != second || !got.Pulled {
			t.Errorf("no longer reserved: %+v, %v", got, err)
		}
		third := oci.FromBytes(cachetest.Put(fake, "v1", 3))
		if got, err := f.Refresh(t.Context(), ref); err != nil || got.To != third || !got.Pulled || got.Unpulled != nil {
			t.Errorf("moved: %+v, %v", got, err)
		}
		fake.Fail(cachetest.Down)
		if _, err := f.Refresh(t.Context(), ref); !oci.Temporary(err) {
			t.Errorf("down: %v", err)
		}
	})
}
