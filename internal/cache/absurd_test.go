package cache_test

import (
	"context"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// absurd reports a wrong size of its content, if size is not 0.
type absurd struct {
	*ocitest.Fake
	size int64
}

func (a *absurd) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	content, err := a.Fake.Open(ctx, ref)
	if err == nil && a.size != 0 {
		content.Size = a.size
	}
	return content, err
}
