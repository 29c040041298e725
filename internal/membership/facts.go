package membership

import (
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"mirrord/internal/oci"
)

// Index remembers facts across restarts. Methods may be called concurrently; what a
// crash loses is asked for again.
type Index interface {
	Members() iter.Seq2[Record, error]
	// UpdateMembers writes records and removes others, of which only the names count.
	// Absent ones are not an error.
	UpdateMembers(put, remove []Record) error
}

// Record is one fact: that content is of a private repository, that it is public
// (without Upstream and Repository), or what is known of a repository (without Digest).
type Record struct {
	Upstream, Repository string
	Digest               oci.Digest

	// Only of a repository:
	Public  bool
	Checked time.Time // when that was found out
	Allowed time.Time // when the upstream last let its login have something of it, if it is private
}

// maxFacts are remembered, in about 300 bytes each. A forgotten one costs a HEAD.
const maxFacts = 1 << 17

// maxRefused repositories are remembered as refused, in memory only, for a minute each.
const maxRefused = 1 << 14

// fact is the name of a Record.
type fact struct {
	upstream, repository string
	digest               oci.Digest
}

// unguarded is the fact that private content may have been fetched while everybody got it,
// of which nothing else is known then.
var unguarded = fact{upstream: "*", digest: oci.FromBytes(nil)}

// state is what is known of a repository; zero for content.
type state struct {
	public  bool
	checked time.Time
	allowed time.Time
	asked   time.Time // when that was last asked about; it is not written
}

// facts are what is known, in memory. Its methods may be called concurrently.
type facts struct {
	index  Index
	failed func(error)

	flushing sync.Mutex  // held while the index is written, so that the last write wins
	private  atomic.Bool // something is, or was, of a private repository

	mu      sync.Mutex // guards all below; held for no I/O
	known   *simplelru.LRU[fact, state]
	dirty   map[fact]struct{}           // that the index does not know yet, or not to be forgotten
	refused *simplelru.LRU[fact, state] // repositories that are private, or invented, and were never served
	owners  map[fact]int                // by upstream and digest: private repositories of known that have it
}

// newFacts returns the facts of the index, of which so many are remembered.
func newFacts(index Index, most int, failed func(error)) *facts {
	f := &facts{index: index, failed: failed, dirty: make(map[fact]struct{}), owners: make(map[fact]int)}
	if failed == nil {
		f.failed = func(error) {}
	}
	f.known = newLRU(most, func(name fact, _ state) {
		f.dirty[name] = struct{}{}
		f.own(name, -1)
	})
	f.refused = newLRU(maxRefused, nil)
	for r, err := range index.Members() {
		if err != nil {
			f.failed(err)
			continue
		}
		name := fact{r.Upstream, r.Repository, r.Digest}
		f.known.Add(name, state{public: r.Public, checked: r.Checked, allowed: r.Allowed})
		f.own(name, 1)
		f.notePrivate(name)
	}
	return f
}

func newLRU(most int, evicted func(fact, state)) *simplelru.LRU[fact, state] {
	l, err := simplelru.NewLRU(most, evicted)
	if err != nil {
		panic(err) // only for a size below one
	}
	return l
}

func (f *facts) get(name fact) (state, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lookUp(name)
}

// lookUp is get for a caller that holds mu.
func (f *facts) lookUp(name fact) (state, bool) {
	if s, ok := f.known.Get(name); ok {
		return s, true
	}
	return f.refused.Get(name)
}

// put notes a fact.
func (f *facts) put(name fact, s state) {
	if f.remember(name, s) {
		f.flush() // what is private must not be taken for public after a crash and without a login
	}
}

// remember is put, and reports whether this is the first private content.
func (f *facts) remember(name fact, s state) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.known.Get(name); ok && old == s {
		return false
	}
	f.add(name, s)
	private := f.private.Load()
	f.notePrivate(name)
	return f.private.Load() != private
}

// add adds a fact that the index gets, too. The caller holds mu.
func (f *facts) add(name fact, s state) {
	f.refused.Remove(name)
	if !f.known.Contains(name) {
		f.own(name, 1)
	}
	f.known.Add(name, s)
	f.dirty[name] = struct{}{}
}

// own counts one more, or less, private repository that has a digest. The caller holds mu.
func (f *facts) own(name fact, change int) {
	if name.upstream == "" || name.digest == "" {
		return
	}
	name.repository = ""
	if f.owners[name] += change; f.owners[name] == 0 {
		delete(f.owners, name)
	}
}

// owns reports whether a private repository of the upstream is known to have d.
func (f *facts) owns(upstream string, d oci.Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.owners[fact{upstream: upstream, digest: d}] > 0
}

// notePrivate notes that there is private content, if name says so.
func (f *facts) notePrivate(name fact) {
	if name.upstream != "" && name.digest != "" {
		f.private.Store(true)
	}
}

// update changes what is known of a repository.
func (f *facts) update(name fact, change func(*state)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, _ := f.lookUp(name)
	change(&s)
	f.add(name, s)
}

// noteRefused notes that the upstream refuses to show a repository. One of which nothing
// else is known takes no place of what is: clients can invent any number of them.
func (f *facts) noteRefused(name fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, known := f.known.Get(name)
	s.public, s.checked = false, time.Now()
	if known {
		f.add(name, s)
	} else {
		f.refused.Add(name, s)
	}
}

// noteAsked notes that a repository is being asked about.
func (f *facts) noteAsked(name fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s, ok := f.known.Get(name); ok {
		s.asked = time.Now()
		f.known.Add(name, s)
	} else if s, ok := f.refused.Get(name); ok {
		s.asked = time.Now()
		f.refused.Add(name, s)
	}
}

// flush writes what the index does not know. What it does not take is written the next
// time.
func (f *facts) flush() {
	f.flushing.Lock()
	defer f.flushing.Unlock()
	names, put, remove := f.takeDirty()
	if len(names) == 0 {
		return
	}
	err := f.index.UpdateMembers(put, remove)
	if err == nil {
		return
	}
	f.mu.Lock()
	for _, name := range names {
		f.dirty[name] = struct{}{}
	}
	f.mu.Unlock()
	f.failed(errors.Join(errors.New("write what is private"), err))
}

// takeDirty takes the names of what the index does not know.
func (f *facts) takeDirty() (names []fact, put, remove []Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.dirty {
		names = append(names, name)
		r := Record{Upstream: name.upstream, Repository: name.repository, Digest: name.digest}
		s, ok := f.known.Peek(name)
		if !ok {
			remove = append(remove, r)
			continue
		}
		r.Public, r.Checked, r.Allowed = s.public, s.checked, s.allowed
		put = append(put, r)
	}
	clear(f.dirty)
	return names, put, remove
}
