package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	rememberFor   = time.Minute // how long a verified credential is not verified again
	maxRemembered = 1 << 12     // credentials; a forgotten one is verified again
)

// fingerprint identifies a credential to this process and to no other.
type fingerprint [sha256.Size]byte

// credential is what a client sends in Authorization.
type credential struct {
	user   string // empty for Bearer
	secret string
	basic  bool
	id     fingerprint
}

func newCredential(key []byte, user, secret string, basic bool) credential {
	hash := hmac.New(sha256.New, key)
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(user)))
	hash.Write(length[:])
	hash.Write([]byte(user))
	hash.Write([]byte(secret))
	c := credential{user: user, secret: secret, basic: basic}
	hash.Sum(c.id[:0])
	return c
}

// proof is the identity that a credential has proved.
type proof struct {
	name  string
	until time.Time // when it is to be verified again
}

// memory has the credentials that were verified, by their fingerprints. One that is too
// old to be trusted is still known: its client is not one that guesses. Methods may be
// called concurrently.
type memory struct {
	mu     sync.Mutex // guards proofs
	proofs *simplelru.LRU[fingerprint, proof]
}

func newMemory() *memory {
	proofs, err := simplelru.NewLRU[fingerprint, proof](maxRemembered, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &memory{proofs: proofs}
}

// recall returns what the credential has proved, false if it never has.
func (m *memory) recall(id fingerprint) (proof, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proofs.Get(id)
}

// following returns the memory for the next version of a file: whoever is known is known, but
// is to be verified again. That of nil is empty.
func (m *memory) following() *memory {
	next := newMemory()
	if m == nil {
		return next
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range m.proofs.Keys() {
		next.proofs.Add(id, proof{})
	}
	return next
}

// forget makes a credential unknown, because it is wrong.
func (m *memory) forget(id fingerprint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proofs.Remove(id)
}

// add remembers for a minute, or until then if that is earlier and not zero.
func (m *memory) add(id fingerprint, name string, expires time.Time) {
	until := time.Now().Add(rememberFor)
	if !expires.IsZero() && expires.Before(until) {
		until = expires
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proofs.Add(id, proof{name, until})
}
