// Package keys names the objects that the mirrors of a fleet share in a bucket, and seals
// those of them that say what another mirror did: who can write to the bucket, but does not
// have the fleet's secret, cannot make a mirror believe them.
package keys

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"mirrord/internal/oci"
)

const (
	version = "v1/" // of the layout
	public  = version + "pub/"
	private = version + "prv/"
)

// Fleet is the key of the object that tells whether a mirror has the fleet's secret.
const Fleet = version + "fleet"

// Prefixes of the keys of one kind, for listing them.
const (
	Blobs   = public + "b/"
	Private = private
	Leases  = public + "l/"
	Tags    = public + "t/"
	Ledgers = version + "q/"
	Nodes   = version + "n/"
)

// Blob is the key of public content.
func Blob(d oci.Digest) string { return Blobs + path(d) }

// Private is the key of content, by digest, of a repository that is not everybody's. Who
// knows neither the secret nor the repository cannot tell what it is of.
func (s Secret) Private(ref oci.Ref) string {
	return Private + s.Hash("repository", ref.Upstream(), ref.Repository()) + "/b/" + path(ref.Digest())
}

// Lease is the key of the lease of who fetches public content.
func Lease(d oci.Digest) string { return Leases + path(d) }

// Node is the key of what a mirror, and one process of it, says of itself.
func Node(node, boot string) string { return Nodes + node + "/" + boot }

func path(d oci.Digest) string { return d.Algorithm().String() + "/" + d.Encoded() }

// Secret is what all mirrors of a fleet know and nobody else. The zero Secret is none. Its
// methods may be called concurrently.
type Secret struct {
	current, previous []byte
}

// minSecret is how many bytes a secret has at least; 128 random bits are 22 in base64.
const minSecret = 22

// ReadSecret reads a secret: the first line and, while it is being changed, the previous
// one on the second. Its errors quote nothing of it.
func ReadSecret(from io.Reader) (Secret, error) {
	raw, err := io.ReadAll(io.LimitReader(from, 4096))
	if err != nil {
		return Secret{}, err
	}
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	if len(lines) > 2 {
		return Secret{}, errors.New("has more than two lines; write the secret on the first, and while it is being changed the previous one on the second")
	}
	for i, line := range lines {
		if lines[i] = bytes.TrimSpace(line); len(lines[i]) < minSecret {
			return Secret{}, fmt.Errorf("has a secret of %d bytes; make one with openssl rand -base64 32", len(lines[i]))
		}
	}
	s := Secret{current: lines[0]}
	if len(lines) == 2 {
		s.previous = lines[1]
	}
	return s, nil
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.current == nil }

// Derive returns a key of 32 bytes for one purpose (HKDF, RFC 5869).
func (s Secret) Derive(purpose string) []byte { return derive(s.current, purpose) }

// DeriveAll returns the keys that are accepted for one purpose: that of Derive and, while
// the secret is being changed, the previous one.
func (s Secret) DeriveAll(purpose string) [][]byte {
	all := [][]byte{s.Derive(purpose)}
	if s.previous != nil {
		all = append(all, derive(s.previous, purpose))
	}
	return all
}

func derive(secret []byte, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, "mirrord fleet "+purpose, sha256.Size)
	if err != nil {
		panic(err) // only for a key that is too long
	}
	return key
}

// Hash returns a name for parts that tells nothing of them: 16 bytes in hex.
func (s Secret) Hash(parts ...string) string {
	return hex.EncodeToString(MAC(s.Derive("names"), parts...)[:16])
}

// Tag is the key of what a tag of a public repository names.
func (s Secret) Tag(ref oci.Ref) string {
	return Tags + s.Hash(ref.Upstream(), ref.Repository(), ref.Tag())
}

// Ledger is the key of the pulls that an account has at an upstream.
func (s Secret) Ledger(upstream, account string) string {
	return Ledgers + s.Hash(upstream, account)
}

// MAC is the HMAC-SHA256 of parts, which it keeps apart.
func MAC(key []byte, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		_, _ = mac.Write(length[:]) // a hash never fails
		_, _ = io.WriteString(mac, part)
	}
	return mac.Sum(nil)
}
