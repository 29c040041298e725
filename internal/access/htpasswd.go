package access

import (
	"context"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/semaphore"

	"mirrord/internal/oci"
)

// passwords is the verifier of the users in an htpasswd file.
type passwords struct {
	file    *file[*users]
	hashing *semaphore.Weighted
	compare func(hash, password []byte) error // nil when they match
	seed    maphash.Seed                      // of decoys
}

// users is one version of the file.
type users struct {
	hashes map[string][]byte // by name
	all    [][]byte          // the same hashes, in the order of the file
	memory *memory           // set by openPasswords
}

func openPasswords(path string, failed func(error), hashing *semaphore.Weighted) (*passwords, error) {
	var last *memory // of the version before
	parse := func(raw []byte) (*users, error) {
		u, err := parseUsers(raw)
		if err == nil {
			u.memory = last.following()
			last = u.memory
		}
		return u, err
	}
	file, err := openFile(path, parse, failed)
	if err != nil {
		return nil, fmt.Errorf("htpasswd file: %w", err)
	}
	return &passwords{file: file, hashing: hashing, compare: bcrypt.CompareHashAndPassword, seed: maphash.MakeSeed()}, nil
}

func (p *passwords) method() Method { return Htpasswd }

func (p *passwords) accepts(c credential) bool { return c.basic }

func (p *passwords) recall(id fingerprint) (proof, bool) { return p.file.current().memory.recall(id) }

func (p *passwords) forget(id fingerprint) { p.file.current().memory.forget(id) }

func (p *passwords) reload() { p.file.reload() }

func (p *passwords) verify(ctx context.Context, c credential, check func() error) (string, error) {
	users := p.file.current()
	hash, exists := users.hashes[c.user]
	if !exists {
		hash = users.decoy(maphash.String(p.seed, c.user))
	}
	if err := p.hashing.Acquire(ctx, 1); err != nil {
		return "", oci.Errorf(oci.Unavailable, "too many logins at once: try again (%w)", err)
	}
	defer p.hashing.Release(1)
	if err := check(); err != nil { // others may have failed while this one waited
		return "", err
	}
	if matches := p.compare(hash, []byte(c.secret)) == nil; !matches || !exists {
		wrong := &wrongError{reason: "the user or the password is wrong"}
		if exists {
			wrong.user = c.user
		}
		return "", wrong
	}
	name := "user:" + c.user
	users.memory.add(c.id, name, time.Time{})
	return name, nil
}

// decoy returns the hash of some user, always the same for a number. A login of a user
// that does not exist is compared with it, so that it takes as long as one of a user
// that does, whatever the costs of the hashes in the file are.
func (u *users) decoy(number uint64) []byte {
	if len(u.all) == 0 {
		return nil // it matches nothing
	}
	return u.all[number%uint64(len(u.all))]
}

// parseUsers parses lines of a user name, a colon and a bcrypt hash.
func parseUsers(raw []byte) (*users, error) {
	u := &users{hashes: make(map[string][]byte)}
	lines := make(map[string]int)
	for number, line := range numberedLines(raw) {
		name, hash, ok := strings.Cut(line, ":")
		switch {
		case !ok || !usableName(name):
			return nil, fmt.Errorf("line %d is not USER:HASH; add users with: htpasswd -B FILE USER", number)
		case !isBcrypt(hash):
			return nil, fmt.Errorf("line %d: the password of %s is not hashed with bcrypt, the only hash that is accepted; set it again with: htpasswd -B FILE %s", number, name, name)
		case lines[name] != 0:
			return nil, fmt.Errorf("line %d: %s is also on line %d; remove one", number, name, lines[name])
		}
		lines[name] = number
		u.hashes[name] = []byte(hash)
		u.all = append(u.all, []byte(hash))
	}
	return u, nil
}

// isBcrypt accepts the variants that differ in their names only.
func isBcrypt(hash string) bool {
	const length = 60
	if len(hash) != length || hash[:2] != "$2" || !strings.ContainsAny(hash[2:3], "aby") {
		return false
	}
	_, err := bcrypt.Cost([]byte(hash))
	return err == nil
}
