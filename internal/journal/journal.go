// Package journal writes to an index what has become of keys in memory. Memory is
// right at any time; the index follows.
package journal

import (
	"errors"
	"sync"
)

// Journal writes records R by key K. New makes one; its methods may
// be called concurrently.
type Journal[K, R any] struct {
	memory sync.Locker
	lookUp func(K) (R, bool)
	put    func(...R) error
	remove func(...K) error

	writing chan struct{} // holds one while the index is written; a mutex must not be held across I/O
}

// New returns a Journal. lookUp returns what is known of a key now; it is called
// with memory locked. put and remove write to the index.
func New[K, R any](memory sync.Locker, lookUp func(K) (R, bool), put func(...R) error, remove func(...K) error) *Journal[K, R] {
	return &Journal[K, R]{memory: memory, lookUp: lookUp, put: put, remove: remove, writing: make(chan struct{}, 1)}
}

// Write puts what is known of keys, and removes the rest from the index. One caller
// writes at a time and looks when its turn has come, so that what was true before is
// not written over what is true now.
func (j *Journal[K, R]) Write(keys ...K) error {
	j.writing <- struct{}{}
	defer func() { <-j.writing }()
	var known []R
	var gone []K
	j.memory.Lock()
	for _, key := range keys {
		if record, ok := j.lookUp(key); ok {
			known = append(known, record)
		} else {
			gone = append(gone, key)
		}
	}
	j.memory.Unlock()
	var err error
	if len(gone) > 0 {
		err = j.remove(gone...)
	}
	if len(known) > 0 {
		err = errors.Join(err, j.put(known...))
	}
	return err
}
