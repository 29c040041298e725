package cache

import (
	"errors"
	"time"

	"mirrord/internal/oci"
)

const (
	missingTime  = 30 * time.Second // how long the upstream's word is its answer to the next
	missingBytes = 1 << 20          // of what is remembered so
)

// missing is a "not found" of the upstream's, or an answer of no use.
type missing struct {
	err   error
	until time.Time
}

// noteMissing remembers err when it says that there is no ref, or that asking
// costs a pull for nothing. The caller holds mu.
func (c *Cache) noteMissing(ref oci.Ref, err error) {
	if err == nil || oci.IsReferrersTag(ref.Tag()) {
		return
	}
	if isUnknown(err) || errors.Is(err, oci.ErrUnusable) {
		key := missingKey(ref)
		c.missing.Add(key, missing{err, time.Now().Add(missingTime)}, int64(len(key)+len(err.Error()))+itemBytes)
	}
}

func isUnknown(err error) bool {
	switch oci.CodeOf(err) {
	case oci.ManifestUnknown, oci.BlobUnknown, oci.NameUnknown:
		return true
	}
	return false
}

// recall returns the error that noteMissing remembers, or nil. The
// caller holds mu.
func (c *Cache) recall(ref oci.Ref) error {
	m, ok := c.missing.Get(missingKey(ref))
	if !ok || time.Now().After(m.until) {
		return nil
	}
	return m.err
}

func missingKey(ref oci.Ref) string { return ref.Kind().String() + " " + ref.String() }
