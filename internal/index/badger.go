package index

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// tune returns badger's options for a few small records that are read once, at
// the start, and written in batches: a tenth of the memory of the defaults.
//
// The value log is never collected: a value goes there only when it is larger
// than ValueThreshold (1 MiB), and a record is some hundred bytes. Badger
// removes the empty log files itself when it opens.
func tune(dir string, warn func(string)) badger.Options {
	o := badger.DefaultOptions(dir)
	o.Logger = logger{warn}
	o.MetricsEnabled = false
	o.DetectConflicts = false // no transaction here reads what it writes
	o.MemTableSize = 8 << 20
	o.NumMemtables = 2
	o.NumCompactors = 2 // the least that compacts level zero too
	o.ValueLogFileSize = 1 << 20

	// Tables that are neither compressed nor encrypted are read through a memory
	// map: neither blocks nor their index need a cache on the heap.
	o.Compression = options.None
	o.BlockCacheSize = 0
	o.IndexCacheSize = 0

	o.BypassLockGuard = true // Open has locked the directory, as badger would
	return o
}

// openBadger is badger.Open with a panic of its own goroutine, which some damaged
// files cause, made an error.
func openBadger(o badger.Options) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	return badger.Open(o)
}

// logger passes badger's errors and warnings on and drops its chatter.
type logger struct {
	warn func(string)
}

func (l logger) Errorf(format string, args ...any)   { l.Warningf(format, args...) }
func (l logger) Warningf(format string, args ...any) { l.warn(fmt.Sprintf(format, args...)) }
func (l logger) Infof(string, ...any)                {}
func (l logger) Debugf(string, ...any)               {}
