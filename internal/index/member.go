package index

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"mirrord/internal/membership"
	"mirrord/internal/oci"
)

var _ membership.Index = (*Index)(nil)

// Keys are "m/<upstream> <repository> <digest>", with empty names where a Record has
// none.
const (
	memberPrefix  = "m/"
	memberVersion = 1
)

func memberKey(r membership.Record) []byte {
	return []byte(memberPrefix + r.Upstream + " " + r.Repository + " " + r.Digest.String())
}

// encodeMember returns the value of r. That of content is only the version.
func encodeMember(r membership.Record) []byte {
	b := []byte{memberVersion}
	if r.Digest != "" {
		return b
	}
	var public uint64
	if r.Public {
		public = 1
	}
	b = binary.AppendUvarint(b, public)
	b = appendTime(b, r.Checked)
	return appendTime(b, r.Allowed)
}

// appendTime appends t to the millisecond; 0 is the zero time.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixMilli())
}

func (d *decoder) time() time.Time {
	if ms := d.varint(); ms != 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}

// decodeMember returns the record of a key and its value, and retains neither.
func decodeMember(key string, value []byte) (membership.Record, error) {
	names := strings.Split(strings.TrimPrefix(key, memberPrefix), " ")
	if len(names) != 3 || !strings.HasPrefix(key, memberPrefix) {
		return membership.Record{}, errKey
	}
	r := membership.Record{Upstream: names[0], Repository: names[1]}
	d := newDecoder(value, memberVersion)
	if names[2] != "" {
		digest, err := oci.ParseDigest(names[2])
		if err != nil {
			return membership.Record{}, err
		}
		r.Digest = digest
		return r, d.end()
	}
	r.Public, r.Checked, r.Allowed = d.uvarint() == 1, d.time(), d.time()
	return r, d.end()
}

// Members yields all records of membership.
func (ix *Index) Members() iter.Seq2[membership.Record, error] {
	return records(ix, memberPrefix, decodeMember)
}

// UpdateMembers writes records of membership and removes others.
func (ix *Index) UpdateMembers(put, remove []membership.Record) error {
	err := ix.write(func(batch *badger.WriteBatch) error {
		for _, r := range put {
			if err := batch.Set(memberKey(r), encodeMember(r)); err != nil {
				return fmt.Errorf("%s/%s: %w", r.Upstream, r.Repository, err)
			}
		}
		for _, r := range remove {
			if err := batch.Delete(memberKey(r)); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("update members", err)
}
