package buckettest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"mirrord/internal/fleet/bucket"
)

// Op is a method of a Bucket.
type Op string

// The methods that a Fault can hit.
const (
	Get    Op = "get"
	Put    Op = "put"
	Upload Op = "upload"
	Touch  Op = "touch"
	Delete Op = "delete"
	List   Op = "list"
)

// Fault is what goes wrong with one request. The zero Fault is nothing.
type Fault struct {
	Before  time.Duration // how long the request takes until it is applied
	Err     error         // it fails
	Applied bool          // it is applied although it fails, or its caller gives up before
	After   time.Duration // how long it takes then until the response
}

// Memory is a Bucket in memory, with the semantics of S3 and faults on demand. Its clock
// is that of the process, so that it works in virtual time.
type Memory struct {
	// Faults returns what goes wrong with a request; nil: nothing. It is called
	// concurrently.
	Faults func(op Op, key string) Fault

	mu      sync.Mutex // guards the rest
	objects map[string]object
	counts  map[Op]int
}

type object struct {
	data    []byte // never changed
	etag    string
	written time.Time
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{objects: make(map[string]object), counts: make(map[Op]int)}
}

// Counts returns how many requests of each kind there were.
func (m *Memory) Counts() map[Op]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counts)
}

// do runs apply, under mu, as the faults of the request have it.
func (m *Memory) do(ctx context.Context, op Op, key string, apply func() error) error {
	var f Fault
	if m.Faults != nil {
		f = m.Faults(op, key)
	}
	gaveUp := sleep(ctx, f.Before)
	var err error
	m.mu.Lock()
	m.counts[op]++
	if f.Applied || f.Err == nil && gaveUp == nil {
		err = apply()
	}
	m.mu.Unlock()
	if gaveUp == nil {
		gaveUp = sleep(ctx, f.After)
	}
	return cmp.Or(gaveUp, f.Err, err)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Get is of the interface.
func (m *Memory) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	var got *bucket.Object
	err := m.do(ctx, Get, key, func() error {
		o, ok := m.objects[key]
		switch {
		case !ok:
			return bucket.ErrAbsent
		case etag != "" && etag != o.etag, from > 0 && from >= int64(len(o.data)):
			return bucket.ErrPrecondition
		}
		got = &bucket.Object{Info: o.info(key), Body: body{ctx, bytes.NewReader(o.data[from:])}}
		return nil
	})
	return got, err
}

// body fails like that of an HTTP response when its context ends.
type body struct {
	ctx context.Context
	*bytes.Reader
}

func (b body) Read(p []byte) (int, error) {
	if err := context.Cause(b.ctx); err != nil {
		return 0, err
	}
	return b.Reader.Read(p)
}

// WriteTo must not hide that.
func (b body) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{b}) }

func (b body) Close() error { return nil }

func (o object) info(key string) bucket.Info {
	age := time.Since(o.written).Truncate(time.Second)
	return bucket.Info{Key: key, Size: int64(len(o.data)), ETag: o.etag, Age: age}
}

// Put is of the interface.
func (m *Memory) Put(ctx context.Context, key string, data []byte, c bucket.Cond) (etag string, err error) {
	err = m.do(ctx, Put, key, func() error {
		etag, err = m.write(key, data, c)
		return err
	})
	return etag, err
}

// Upload is of the interface.
func (m *Memory) Upload(ctx context.Context, key string, from io.ReaderAt, size int64, c bucket.Cond) error {
	data := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(from, 0, size), data); err != nil {
		return fmt.Errorf("upload %s: %w", key, err)
	}
	return m.do(ctx, Upload, key, func() error {
		_, err := m.write(key, data, c)
		return err
	})
}

// write writes an object. The caller holds mu.
func (m *Memory) write(key string, data []byte, c bucket.Cond) (string, error) {
	old, exists := m.objects[key]
	if c.Absent() && exists || c.ETag() != "" && (!exists || c.ETag() != old.etag) {
		return "", bucket.ErrPrecondition
	}
	sum := md5.Sum(data)
	o := object{data: bytes.Clone(data), etag: hex.EncodeToString(sum[:]), written: time.Now()}
	m.objects[key] = o
	return o.etag, nil
}

// Touch is of the interface.
func (m *Memory) Touch(ctx context.Context, key, etag string) error {
	return m.do(ctx, Touch, key, func() error {
		o, ok := m.objects[key]
		switch {
		case !ok:
			return bucket.ErrAbsent
		case o.etag != etag:
			return bucket.ErrPrecondition
		}
		o.written = time.Now()
		m.objects[key] = o
		return nil
	})
}

// Delete is of the interface.
func (m *Memory) Delete(ctx context.Context, key string) error {
	return m.do(ctx, Delete, key, func() error {
		delete(m.objects, key)
		return nil
	})
}

// List is of the interface.
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		var all []bucket.Info
		err := m.do(ctx, List, prefix, func() error {
			for _, key := range slices.Sorted(maps.Keys(m.objects)) {
				if strings.HasPrefix(key, prefix) {
					all = append(all, m.objects[key].info(key))
				}
			}
			return nil
		})
		if err != nil {
			yield(bucket.Info{}, err)
			return
		}
		for _, info := range all {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Sweep is of the interface: nothing is ever left behind.
func (m *Memory) Sweep(context.Context, time.Duration) error { return nil }

// Now is of the interface.
func (m *Memory) Now() (time.Time, bool) { return time.Now(), true }
