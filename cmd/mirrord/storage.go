package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"mirrord/internal/cache/disk"
	"mirrord/internal/index"
)

// storage is the cache directory.
type storage struct {
	blobs *disk.Store
	index *index.Index
	parts string // unfinished fills
	close func() error
}

// openStorage locks the directory for this process and opens what is in it. An index
// that cannot be opened is quarantined and rebuilt.
func openStorage(dir string, log *zap.Logger) (*storage, error) {
	unlock, err := disk.Lock(dir)
	if err != nil {
		return nil, err
	}
	s := &storage{parts: fillsDir(dir)}
	err = disk.CheckFormat(dir)
	if err == nil {
		err = s.openFiles(dir)
	}
	if err == nil {
		s.index, err = openIndex(filepath.Join(dir, "index"), log)
	}
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	s.close = func() error { return errors.Join(s.index.Close(), unlock()) }
	return s, nil
}

// fillsDir is the directory of unfinished fills in a cache directory.
func fillsDir(dir string) string { return filepath.Join(dir, "fills") }

// openFiles opens the blobs and the directory of unfinished fills, which a
// read-only disk may lack.
func (s *storage) openFiles(dir string) (err error) {
	if err := disk.MakeDir(s.parts); err != nil && !errors.Is(err, unix.EROFS) {
		return err
	}
	if s.blobs, err = disk.Open(dir); err != nil {
		return err
	}
	return s.blobs.CheckRename(s.parts)
}

func openIndex(dir string, log *zap.Logger) (*index.Index, error) {
	few := log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Minute, 1, 0) // badger retries each second, and logs it
	}))
	warn := func(text string) { few.Warn("index", zap.String("badger", text)) }
	damaged := func(err error) {
		log.Warn("index is damaged; it is quarantined and rebuilt from the blobs", zap.Error(err))
	}
	if err := disk.MakeDir(dir); errors.Is(err, disk.ErrNotDirectory) { // the index reports any other error, and retries
		return nil, err
	}
	if target, err := filepath.EvalSymlinks(dir); err == nil {
		dir = target // a damaged one is quarantined where it is
	}
	return index.OpenOrReset(dir, index.Options{Warn: warn, Damaged: damaged})
}

// unusable says what to do about a directory for which openStorage has failed.
func unusable(dir string, err error) error {
	for _, known := range []error{disk.ErrInUse, disk.ErrFormat, disk.ErrNotDirectory, disk.ErrFileSystem, index.ErrVersion} {
		if errors.Is(err, known) {
			return refusal{err} // its message says what to do
		}
	}
	return refusal{fmt.Errorf("cache.dir %s cannot be used: %w; make it writable for this user, or choose another directory", dir, err)}
}
