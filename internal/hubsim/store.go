package hubsim

import (
	"bytes"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// store is the content of the hub. Blobs are stored once, repositories refer to them.
type store struct {
	mu    sync.RWMutex // guards the fields below; no I/O under it but creating dir
	repos map[string]*repository
	blobs map[digest.Digest]blob
	dir   string // of blobs in files; empty until the first
}

type repository struct {
	tags      map[string]digest.Digest
	manifests map[digest.Digest]manifest
	blobs     map[digest.Digest]bool
	users     map[string]bool // who may pull; nil: everyone
}

type manifest struct {
	digest    digest.Digest
	mediaType string
	raw       []byte
}

// blob is in memory, or in a file if path is set.
type blob struct {
	size int64
	data []byte
	path string
}

func (b blob) open() (io.ReadSeekCloser, error) {
	if b.path != "" {
		return os.Open(b.path)
	}
	return memory{bytes.NewReader(b.data)}, nil
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

func newStore() *store {
	return &store{repos: map[string]*repository{}, blobs: map[digest.Digest]blob{}}
}

func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// repo returns the repository, and creates it if need be. The caller holds mu.
func (s *store) repo(name string) *repository {
	r, ok := s.repos[name]
	if !ok {
		r = &repository{
			tags:      map[string]digest.Digest{},
			manifests: map[digest.Digest]manifest{},
			blobs:     map[digest.Digest]bool{},
		}
		s.repos[name] = r
	}
	return r
}

func (s *store) put(repo string, d digest.Digest, b blob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repo(repo).blobs[d] = true
	s.blobs[d] = b
}

// spool stores content in a file.
func (s *store) spool(repo string, content io.Reader) (digest.Digest, error) {
	file, err := s.create()
	if err != nil {
		return "", err
	}
	defer file.Close()
	digester := digest.Canonical.Digester()
	size, err := io.Copy(io.MultiWriter(file, digester.Hash()), content)
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(file.Name()), digester.Digest().Encoded())
	if err := os.Rename(file.Name(), path); err != nil {
		return "", err
	}
	s.put(repo, digester.Digest(), blob{size: size, path: path})
	return digester.Digest(), nil
}

func (s *store) create() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "hubsim-*")
		if err != nil {
			return nil, err
		}
		s.dir = dir
	}
	return os.CreateTemp(s.dir, "new-*")
}

// exists reports whether there is such a repository, and whether user may pull from
// it; an anonymous user is the empty string.
func (s *store) exists(repo, user string) (exists, allowed bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.repos[repo]
	return ok, ok && (r.users == nil || r.users[user])
}

// manifest looks up a tag or a digest.
func (s *store) manifest(repo, reference string) (manifest, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.repos[repo]
	if !ok {
		return manifest{}, false
	}
	d, tagged := r.tags[reference]
	if !tagged {
		d = digest.Digest(reference)
	}
	m, ok := r.manifests[d]
	return m, ok
}

// blob looks a digest up in a repository.
func (s *store) blob(repo string, d digest.Digest) (blob, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r, ok := s.repos[repo]; !ok || !r.blobs[d] {
		return blob{}, false
	}
	return s.blobs[d], true
}

// anyBlob looks a digest up in all repositories, as the CDN does.
func (s *store) anyBlob(d digest.Digest) (blob, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.blobs[d]
	return b, ok
}

// tags returns the tags of a repository in lexical order.
func (s *store) tags(repo string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r, ok := s.repos[repo]; ok {
		return slices.Sorted(maps.Keys(r.tags))
	}
	return nil
}

// manifests returns the manifests of a repository in the order of digests.
func (s *store) manifests(repo string) []manifest {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.repos[repo]
	if !ok {
		return nil
	}
	return slices.SortedFunc(maps.Values(r.manifests), func(a, b manifest) int {
		return strings.Compare(string(a.digest), string(b.digest))
	})
}
