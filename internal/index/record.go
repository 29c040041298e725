package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unique"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

// Keys are "b/<digest>" for blobs, "t/<upstream> <repository>:<tag>" for tags, and
// "q/<name>" for quotas and "h/<name>" for the history, whose values are opaque. A value
// of the first two is the version of its encoding, in one byte, and then fields in a
// fixed order: numbers are varints, and strings have their length in front.
const (
	blobPrefix    = "b/"
	tagPrefix     = "t/"
	quotaPrefix   = "q/"
	historyPrefix = "h/"

	quotaEventPrefix = "e/"

	blobVersion = 3 // 1 had no Verified; 3 only for records with an Origin, so that an older mirrord can read the others
	tagVersion  = 3 // 1 had no Confirmed, 2 no Refused
)

var (
	errShort    = errors.New("the record is truncated")
	errLong     = errors.New("extra bytes after the record")
	errKey      = errors.New("invalid key")
	errSize     = errors.New("size out of range")
	errNoDigest = errors.New("missing digest")
)

func blobKey(d oci.Digest) []byte { return []byte(blobPrefix + d.String()) }

func tagKey(ref oci.Ref) []byte {
	return []byte(tagPrefix + ref.Upstream() + " " + ref.Repository() + ":" + ref.Tag())
}

// encodeBlob returns the value of r, whose digest is in the key.
func encodeBlob(r cache.BlobRecord) []byte {
	b := []byte{blobVersion - 1}
	b = appendString(b, r.MediaType)
	b = binary.AppendUvarint(b, uint64(r.Size))
	b = binary.AppendVarint(b, r.Used.Unix())
	b = binary.AppendVarint(b, r.Verified.Unix())
	if r.Origin != "" {
		b[0] = blobVersion
		b = appendString(b, r.Origin)
	}
	return b
}

// decodeBlob returns the record of a key and its value, and retains neither.
func decodeBlob(key string, value []byte) (cache.BlobRecord, error) {
	text, ok := strings.CutPrefix(key, blobPrefix)
	if !ok {
		return cache.BlobRecord{}, errKey
	}
	digest, err := oci.ParseDigest(text)
	if err != nil {
		return cache.BlobRecord{}, err
	}
	d := newDecoder(value, blobVersion)
	r := cache.BlobRecord{
		Descriptor: oci.Descriptor{MediaType: d.name(), Digest: digest, Size: d.size()},
		Used:       d.seconds(),
		Verified:   time.Unix(0, 0).UTC(), // unknown: when it was fetched, long ago
	}
	if d.version > 1 {
		r.Verified = d.seconds()
	}
	if d.version > 2 {
		r.Origin = d.name()
	}
	if err := d.end(); err != nil {
		return cache.BlobRecord{}, err
	}
	return r, nil
}

// encodeTag returns the value of t, whose Ref is in the key. Only a refused tag gets
// the version that an older mirrord cannot read.
func encodeTag(t tags.Record) []byte {
	b := []byte{tagVersion}
	if t.Refused == "" {
		b[0] = 2
	}
	b = appendDescriptor(b, t.Latest)
	b = appendDescriptor(b, t.Previous)
	b = binary.AppendVarint(b, t.Checked.UnixMilli())
	if t.Previous.Digest != "" {
		b = binary.AppendVarint(b, t.Confirmed.UnixMilli())
	}
	if t.Refused != "" {
		b = appendString(b, string(t.Refused))
		b = binary.AppendVarint(b, t.RefusedAt.UnixMilli())
	}
	return b
}

// decodeTag returns the record of a key and its value, and retains neither.
func decodeTag(key string, value []byte) (tags.Record, error) {
	ref, err := parseTagKey(key)
	if err != nil {
		return tags.Record{}, err
	}
	d := newDecoder(value, tagVersion)
	t := tags.Record{
		Ref:      ref,
		Latest:   d.descriptor(),
		Previous: d.descriptor(),
		Checked:  time.UnixMilli(d.varint()).UTC(),
	}
	switch {
	case t.Previous.Digest == "":
	case d.version == 1:
		t.Confirmed = t.Checked
	default:
		t.Confirmed = time.UnixMilli(d.varint()).UTC()
	}
	if d.version > 2 {
		t.Refused = oci.Code(d.name())
		t.RefusedAt = time.UnixMilli(d.varint()).UTC()
	}
	if err := d.end(); err != nil {
		return tags.Record{}, err
	}
	if t.Latest.Digest == "" {
		return tags.Record{}, errNoDigest
	}
	return t, nil
}

func parseTagKey(key string) (oci.Ref, error) {
	name, ok := strings.CutPrefix(key, tagPrefix)
	if !ok {
		return oci.Ref{}, errKey
	}
	upstream, name, ok := strings.Cut(name, " ")
	repository, tag, named := strings.Cut(name, ":") // a repository name contains no colon
	if !ok || !named || strings.Contains(tag, ":") {
		return oci.Ref{}, errKey
	}
	return oci.ParseManifest(upstream, repository, tag)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendDescriptor(b []byte, d oci.Descriptor) []byte {
	b = appendString(b, d.MediaType)
	b = appendString(b, d.Digest.String())
	return binary.AppendUvarint(b, uint64(d.Size))
}

// decoder reads the fields of a value. After the first error all fields are zero,
// and end returns the error.
type decoder struct {
	version byte
	rest    []byte
	err     error
}

// newDecoder reads a value of that version or an older one.
func newDecoder(value []byte, newest byte) *decoder {
	d := &decoder{rest: value}
	switch {
	case len(value) == 0:
		d.fail(errShort)
	case value[0] == 0 || value[0] > newest:
		d.fail(fmt.Errorf("unknown record version %d", value[0]))
	default:
		d.version, d.rest = value[0], value[1:]
	}
	return d
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}

func (d *decoder) end() error {
	if len(d.rest) > 0 {
		d.fail(errLong)
	}
	return d.err
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	return advance(d, v, n)
}

func (d *decoder) seconds() time.Time { return time.Unix(d.varint(), 0).UTC() }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	return advance(d, v, n)
}

// advance skips the n bytes of v, which binary.Varint returned: n is not positive
// for an error.
func advance[V int64 | uint64](d *decoder, v V, n int) V {
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) size() int64 {
	v := d.uvarint()
	if v > math.MaxInt64 {
		d.fail(errSize)
		return 0
	}
	return int64(v)
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.fail(errShort)
		return nil
	}
	field := d.rest[:n]
	d.rest = d.rest[n:]
	return field
}

// name reads a string that many records have: they share one copy of it.
func (d *decoder) name() string { return unique.Make(string(d.bytes())).Value() }

// descriptor reads a descriptor; it is zero without a digest.
func (d *decoder) descriptor() oci.Descriptor {
	mediaType, text, size := d.name(), string(d.bytes()), d.size()
	if text == "" {
		if mediaType != "" || size != 0 {
			d.fail(errNoDigest)
		}
		return oci.Descriptor{}
	}
	digest, err := oci.ParseDigest(text)
	if err != nil {
		d.fail(err)
	}
	return oci.Descriptor{MediaType: mediaType, Digest: digest, Size: size}
}
