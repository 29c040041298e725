package index

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// tune returns badger's options for small records that are read once, at start-up,
// and written in batches: they need a tenth of the memory that the defaults need.
//
// The value log needs no garbage collection: only a value above ValueThreshold
// (1 MiB) goes there, and a record has a few hundred bytes. Badger removes empty
// log files when it opens.
func tune(dir string, warn func(string)) badger.Options {
	o := badger.DefaultOptions(dir)
	o.Logger = logger{warn}
	o.MetricsEnabled = false
	o.DetectConflicts = false // no transaction reads what another one writes
	o.MemTableSize = 8 << 20
	o.NumMemtables = 2
	o.NumCompactors = 2 // the minimum that still compacts level zero
	o.ValueLogFileSize = 1 << 20

	// Tables that are neither compressed nor encrypted are read through a memory
	// map: neither blocks nor their index need a cache on the heap.
	o.Compression = options.None
	o.BlockCacheSize = 0
	o.IndexCacheSize = 0

	o.BypassLockGuard = true // openDatabase has locked the directory the same way
	return o
}

// openBadger is badger.Open, but returns a panic in the caller's goroutine as an
// error: some damaged files cause one.
func openBadger(o badger.Options) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	return badger.Open(o)
}

// logger forwards badger's errors and warnings and drops the rest.
type logger struct {
	warn func(string)
}

func (l logger) Errorf(format string, args ...any)   { l.Warningf(format, args...) }
func (l logger) Warningf(format string, args ...any) { l.warn(fmt.Sprintf(format, args...)) }
func (l logger) Infof(string, ...any)                {}
func (l logger) Debugf(string, ...any)               {}
