package cache_test

import (
	"errors"
	"io/fs"
	"testing"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// What is not cached, or larger than is wanted, is not there to peek at.
func TestPeekAtNothing(t *testing.T) {
	f := start(t, new(ocitest.Fake))
	d := oci.FromBytes([]byte("absent"))
	if _, ok := f.Cache.Blob(d); ok {
		t.Error("an absent blob is known")
	}
	if _, err := f.Cache.Peek(t.Context(), d, 1<<20); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Peek: %v", err)
	}
}
