package index

import (
	"fmt"
	"iter"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"mirrord/internal/oci"
	"mirrord/internal/retention"
)

var _ retention.Index = (*Index)(nil)

// Keys are "p/<upstream> <repository> <tag or digest>". A mirrord that knows no pins
// ignores them.
const (
	pinPrefix  = "p/"
	pinVersion = 1
)

func pinKey(ref oci.Ref) []byte {
	return []byte(pinPrefix + ref.Upstream() + " " + ref.Repository() + " " + ref.Reference())
}

// encodePin returns the value of p, whose Ref is in the key.
func encodePin(p retention.Pin) []byte {
	b := appendTime([]byte{pinVersion}, p.Since)
	return appendString(b, p.Digest.String())
}

// decodePin returns the record of a key and its value, and retains neither.
func decodePin(key string, value []byte) (retention.Pin, error) {
	names := strings.Split(strings.TrimPrefix(key, pinPrefix), " ")
	if len(names) != 3 || !strings.HasPrefix(key, pinPrefix) {
		return retention.Pin{}, errKey
	}
	ref, err := oci.ParseManifest(names[0], names[1], names[2])
	if err != nil {
		return retention.Pin{}, err
	}
	d := newDecoder(value, pinVersion)
	p := retention.Pin{Ref: ref, Since: d.time()}
	if text := string(d.bytes()); text != "" {
		if p.Digest, err = oci.ParseDigest(text); err != nil {
			return retention.Pin{}, err
		}
	}
	return p, d.end()
}

// Pins yields all pins, and errors as Blobs does.
func (ix *Index) Pins() iter.Seq2[retention.Pin, error] { return records(ix, pinPrefix, decodePin) }

// UpdatePins writes pins and removes others, of which some may be absent.
func (ix *Index) UpdatePins(put []retention.Pin, remove []oci.Ref) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for _, p := range put {
			if err := batch.Set(pinKey(p.Ref), encodePin(p)); err != nil {
				return fmt.Errorf("%s: %w", p.Ref, err)
			}
		}
		for _, ref := range remove {
			if err := batch.Delete(pinKey(ref)); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("update pins", err)
}
