package hubsim

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
)

// spoolAbove is the size in bytes above which a layer is stored in a file.
const spoolAbove = 4 << 20

// AddBlob adds content to a repository, which it creates if need be. The hub does
// not copy content, which must not be changed afterwards.
func (h *Hub) AddBlob(repo string, content []byte) digest.Digest {
	d := digest.FromBytes(content)
	h.store.put(repo, d, blob{size: int64(len(content)), data: content})
	return d
}

// AddBlobFrom adds a blob of size pseudo-random bytes that depend only on seed. It is
// stored in a temporary file until Close, so it can be large. AddBlobFrom fails when
// the file cannot be written.
func (h *Hub) AddBlobFrom(repo string, size int64, seed uint64) (digest.Digest, error) {
	d, err := h.store.spool(repo, io.LimitReader(noise(seed), size))
	if err != nil {
		return "", fmt.Errorf("add blob of %d bytes: %w", size, err)
	}
	return d, nil
}

// noise returns an endless stream that depends only on seed: the key stream of a
// cipher, which is faster than a random number generator.
func noise(seed uint64) io.Reader {
	key := binary.LittleEndian.AppendUint64(make([]byte, 0, aes.BlockSize), seed)
	block, err := aes.NewCipher(key[:aes.BlockSize])
	if err != nil {
		panic(err) // the key has a valid length
	}
	return cipher.StreamReader{S: cipher.NewCTR(block, make([]byte, aes.BlockSize)), R: zeros{}}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// AddManifest adds a manifest to a repository, which it creates if need be, and tags
// it unless tag is empty. raw is not validated.
func (h *Hub) AddManifest(repo, tag, mediaType string, raw []byte) digest.Digest {
	m := manifest{digest: digest.FromBytes(raw), mediaType: mediaType, raw: raw}
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	r := h.store.repo(repo)
	r.manifests[m.digest] = m
	if tag != "" {
		r.tags[tag] = m.digest
	}
	return m.digest
}

// Docker Hub has an image for querying one's pull limit.
const (
	previewRepo = "ratelimitpreview/test"
	previewRaw  = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`
)

func (h *Hub) addPreview() {
	h.AddManifest(previewRepo, "latest", string(types.OCIManifestSchema1), []byte(previewRaw))
	h.AddBlob(previewRepo, []byte("{}"))
}

// SetTag creates or moves a tag. It may point to a missing manifest; then the tag is
// listed but not found.
func (h *Hub) SetTag(repo, tag string, d digest.Digest) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	h.store.repo(repo).tags[tag] = d
}

// DeleteTag removes a tag; its manifest stays.
func (h *Hub) DeleteTag(repo, tag string) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	delete(h.store.repo(repo).tags, tag)
}

// SetPrivate lets only these users pull from a repository. Tokens that were issued
// before keep their access.
func (h *Hub) SetPrivate(repo string, users ...string) {
	allowed := make(map[string]bool, len(users))
	for _, user := range users {
		allowed[user] = true
	}
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	h.store.repo(repo).users = allowed
}

// SetPublic lets everyone pull from a repository again.
func (h *Hub) SetPublic(repo string) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	h.store.repo(repo).users = nil
}

// AddImage adds an image with its configuration and layers to a repository, and tags
// it unless tag is empty.
func (h *Hub) AddImage(repo, tag string, img v1.Image) (v1.Hash, error) {
	layers, err := img.Layers()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("add image: %w", err)
	}
	for _, layer := range layers {
		if err := h.addLayer(repo, layer); err != nil {
			return v1.Hash{}, fmt.Errorf("add layer: %w", err)
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("add image: %w", err)
	}
	h.AddBlob(repo, config)
	return h.addTagged(repo, tag, img)
}

// AddIndex adds an index and all its images to a repository, and tags it unless tag
// is empty.
func (h *Hub) AddIndex(repo, tag string, idx v1.ImageIndex) (v1.Hash, error) {
	list, err := idx.IndexManifest()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("add index: %w", err)
	}
	for _, child := range list.Manifests {
		if err := h.addChild(repo, idx, child); err != nil {
			return v1.Hash{}, fmt.Errorf("add %s of index: %w", child.Digest, err)
		}
	}
	return h.addTagged(repo, tag, idx)
}

func (h *Hub) addChild(repo string, idx v1.ImageIndex, child v1.Descriptor) error {
	if child.MediaType.IsIndex() {
		inner, err := idx.ImageIndex(child.Digest)
		if err == nil {
			_, err = h.AddIndex(repo, "", inner)
		}
		return err
	}
	img, err := idx.Image(child.Digest)
	if err == nil {
		_, err = h.AddImage(repo, "", img)
	}
	return err
}

func (h *Hub) addLayer(repo string, layer v1.Layer) error {
	size, err := layer.Size()
	if err != nil {
		return err
	}
	body, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer body.Close()
	if size > spoolAbove {
		_, err := h.store.spool(repo, body)
		return err
	}
	var content bytes.Buffer
	if _, err := io.Copy(&content, body); err != nil {
		return err
	}
	h.AddBlob(repo, content.Bytes())
	return nil
}

// tagged is implemented by images and indexes.
type tagged interface {
	RawManifest() ([]byte, error)
	MediaType() (types.MediaType, error)
}

func (h *Hub) addTagged(repo, tag string, m tagged) (v1.Hash, error) {
	raw, err := m.RawManifest()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("add manifest: %w", err)
	}
	mediaType, err := m.MediaType()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("add manifest: %w", err)
	}
	return v1.NewHash(h.AddManifest(repo, tag, string(mediaType), raw).String())
}
