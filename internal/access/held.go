package access

import (
	"bytes"
	"context"
	"io"

	"mirrord/internal/oci"
)

// held is a Registry with one manifest in memory.
type held struct {
	oci.Registry
	ref    oci.Ref
	result oci.Result
	raw    []byte
}

// hold returns r with the manifest ref, whose content is read from then on from memory.
// It is for manifests that bypass the cache: to open one again would cost another pull.
// An error leaves the content to its owner.
func hold(r oci.Registry, ref oci.Ref, content *oci.Content) (oci.Registry, error) {
	raw, err := io.ReadAll(io.LimitReader(content.Body, oci.MaxManifestSize+1))
	if err != nil {
		return nil, err
	}
	if err := oci.CheckSize(ref, int64(len(raw))); err != nil {
		return nil, err
	}
	if err := content.Body.Close(); err != nil {
		return nil, err
	}
	content.Body, content.Size = inMemory(raw), int64(len(raw))
	return &held{r, ref, content.Result, raw}, nil
}

// Open implements oci.Registry.
func (h *held) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if ref != h.ref {
		return h.Registry.Open(ctx, ref)
	}
	return &oci.Content{Result: h.result, Body: inMemory(h.raw)}, nil
}

type memoryBody struct{ *bytes.Reader }

func (memoryBody) Close() error { return nil }

func inMemory(raw []byte) io.ReadCloser { return memoryBody{bytes.NewReader(raw)} }
