// Package buckettest has the contract suite that every Bucket passes, and a Bucket in
// memory.
package buckettest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet/bucket"
)

// Options say what the Bucket under test is known to do differently.
type Options struct {
	New      func(t *testing.T) bucket.Bucket // an empty one; it is called once for each test
	PartSize int                              // larger uploads have several parts, in bytes

	Virtual bool // it lives in this process, and its time can be virtual
}

// Run runs the suite.
func Run(t *testing.T, o Options) {
	for name, test := range map[string]func(s suite){
		"absent":      suite.absent,
		"read":        suite.read,
		"replaced":    suite.replaced,
		"if absent":   suite.ifAbsent,
		"if match":    suite.ifMatch,
		"race create": suite.raceCreate,
		"race update": suite.raceUpdate,
		"upload":      suite.upload,
		"many parts":  suite.manyParts,
		"touch":       suite.touch,
		"delete":      suite.delete,
		"list":        suite.list,
		"cancelled":   suite.cancelled,
	} {
		t.Run(name, func(t *testing.T) {
			if o.Virtual {
				synctest.Test(t, func(t *testing.T) { test(suite{t, o, o.New(t)}) })
			} else {
				test(suite{t, o, o.New(t)})
			}
		})
	}
}

type suite struct {
	*testing.T
	Options
	bucket bucket.Bucket
}

func (s suite) put(key, data string, c bucket.Cond) string {
	s.Helper()
	etag, err := s.bucket.Put(s.Context(), key, []byte(data), c)
	if err != nil {
		s.Fatalf("put %s: %v", key, err)
	}
	if etag == "" {
		s.Fatalf("put %s: no ETag", key)
	}
	return etag
}

// get returns the object, with all of its bytes from an offset on.
func (s suite) get(key string, from int64) (bucket.Info, []byte) {
	s.Helper()
	o, err := s.bucket.Get(s.Context(), key, from, "")
	if err != nil {
		s.Fatalf("get %s from %d: %v", key, from, err)
	}
	data, err := io.ReadAll(o.Body)
	if err := errors.Join(err, o.Body.Close()); err != nil {
		s.Fatalf("read %s from %d: %v", key, from, err)
	}
	return o.Info, data
}

func (s suite) wantContent(key string, want []byte) {
	s.Helper()
	if info, got := s.get(key, 0); !bytes.Equal(got, want) || info.Size != int64(len(want)) {
		s.Errorf("%s: %d bytes of %d, want %d, or other ones", key, len(got), info.Size, len(want))
	}
}

func (s suite) wantError(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("error: %v\nwant: %v", err, want)
	}
}

// fails puts and wants an error of that kind.
func (s suite) fails(key string, c bucket.Cond, want error) {
	s.Helper()
	_, err := s.bucket.Put(s.Context(), key, []byte("unwanted"), c)
	s.wantError(err, want)
}

func (s suite) absent() {
	_, err := s.bucket.Get(s.Context(), "nothing", 0, "")
	s.wantError(err, bucket.ErrAbsent)
	s.wantError(s.bucket.Touch(s.Context(), "nothing", "0123"), bucket.ErrAbsent)
	s.fails("nothing", bucket.IfMatch("0123"), bucket.ErrPrecondition)
	_, err = s.bucket.Get(s.Context(), "nothing", 0, "")
	s.wantError(err, bucket.ErrAbsent) // nothing was written
}

func (s suite) read() {
	etag := s.put("a/b", "0123456789", bucket.Cond{})
	info, data := s.get("a/b", 0)
	if info.Key != "a/b" || info.Size != 10 || info.ETag != etag || string(data) != "0123456789" {
		s.Errorf("got %+v %q, want 10 bytes with the ETag %s", info, data, etag)
	}
	if info.Age < 0 || info.Age > time.Minute {
		s.Errorf("age %v of an object that was just written", info.Age)
	}
	if info, data = s.get("a/b", 7); info.Size != 10 || string(data) != "789" {
		s.Errorf("from 7: %+v %q", info, data)
	}
	_, err := s.bucket.Get(s.Context(), "a/b", 10, "")
	s.wantError(err, bucket.ErrPrecondition)
	s.put("empty", "", bucket.Cond{})
	s.wantContent("empty", nil)
}

func (s suite) replaced() {
	old := s.put("key", "before", bucket.Cond{})
	fresh := s.put("key", "after", bucket.Cond{})
	if old == fresh {
		s.Errorf("other bytes have the same ETag %s", old)
	}
	_, err := s.bucket.Get(s.Context(), "key", 2, old)
	s.wantError(err, bucket.ErrPrecondition)
	o, err := s.bucket.Get(s.Context(), "key", 2, fresh)
	if err != nil {
		s.Fatal(err)
	}
	if err := o.Body.Close(); err != nil {
		s.Error(err)
	}
	s.wantContent("key", []byte("after"))
}

func (s suite) ifAbsent() {
	s.put("key", "first", bucket.IfAbsent())
	s.fails("key", bucket.IfAbsent(), bucket.ErrPrecondition)
	s.wantContent("key", []byte("first"))
}

func (s suite) ifMatch() {
	first := s.put("key", "first", bucket.Cond{})
	second := s.put("key", "second", bucket.IfMatch(first))
	s.fails("key", bucket.IfMatch(first), bucket.ErrPrecondition)
	s.put("key", "third", bucket.IfMatch(second))
	s.wantContent("key", []byte("third"))
}

const racers = 20

// race runs put concurrently and wants that one of them succeeds.
func (s suite) race(put func(data []byte) error) {
	s.Helper()
	errs := make([]error, racers)
	var all sync.WaitGroup
	for i := range racers {
		all.Go(func() { errs[i] = put([]byte{byte('a' + i)}) })
	}
	all.Wait()
	winner := slices.Index(errs, nil)
	for i, err := range errs {
		if i != winner && !errors.Is(err, bucket.ErrPrecondition) && !errors.Is(err, bucket.ErrConflict) {
			s.Errorf("racer %d: %v, and %d has won", i, err, winner)
		}
	}
	if winner < 0 {
		s.Fatalf("nobody has won: %v", errs)
	}
	s.wantContent("key", []byte{byte('a' + winner)})
}

func (s suite) raceCreate() {
	s.race(func(data []byte) error {
		_, err := s.bucket.Put(s.Context(), "key", data, bucket.IfAbsent())
		return err
	})
}

func (s suite) raceUpdate() {
	etag := s.put("key", "before", bucket.Cond{})
	s.race(func(data []byte) error {
		_, err := s.bucket.Put(s.Context(), "key", data, bucket.IfMatch(etag))
		return err
	})
}

func (s suite) upload() { s.uploads(1000) }

func (s suite) manyParts() { s.uploads(2*s.PartSize + 1000) }

func (s suite) uploads(size int) {
	first, second := random(size, 1), random(size, 2)
	upload := func(data []byte, c bucket.Cond) error {
		return s.bucket.Upload(s.Context(), "key", bytes.NewReader(data), int64(size), c)
	}
	if err := upload(first, bucket.IfAbsent()); err != nil {
		s.Fatal(err)
	}
	s.wantContent("key", first)
	s.wantError(upload(second, bucket.IfAbsent()), bucket.ErrPrecondition)
	s.wantContent("key", first)
	info, tail := s.get("key", int64(size-10))
	if !bytes.Equal(tail, first[size-10:]) {
		s.Error("its last ten bytes are others")
	}
	if err := upload(second, bucket.IfMatch(info.ETag)); err != nil {
		s.Fatal(err)
	}
	s.wantContent("key", second)
	s.wantError(upload(first, bucket.IfMatch(info.ETag)), bucket.ErrPrecondition)
	if err := s.bucket.Sweep(s.Context(), 0); err != nil {
		s.Errorf("sweep: %v", err)
	}
	s.wantContent("key", second)
}

func random(size int, seed byte) []byte {
	p := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p) // it cannot fail
	return p
}

func (s suite) touch() {
	for key, content := range map[string]string{"key": "content", "large": string(random(s.PartSize+1000, 1)), "empty": ""} {
		if err := s.bucket.Upload(s.Context(), key, strings.NewReader(content), int64(len(content)), bucket.Cond{}); err != nil {
			s.Fatal(err)
		}
		s.wantError(s.bucket.Touch(s.Context(), key, "0123"), bucket.ErrPrecondition)
	}
	const age = 3 * time.Second
	time.Sleep(age) // the store's clock is not ours
	for _, key := range []string{"key", "large", "empty"} {
		before, content := s.get(key, 0)
		if before.Age < age-time.Second {
			s.Errorf("age %v after %v", before.Age, age)
		}
		if err := s.bucket.Touch(s.Context(), key, before.ETag); err != nil {
			s.Errorf("touch %s: %v", key, err)
		}
		if info, _ := s.get(key, 0); info.Age >= age-time.Second {
			s.Errorf("%s has the age %v", key, info.Age)
		}
		s.wantContent(key, content)
	}
	s.wantError(s.bucket.Touch(s.Context(), "nothing", "0123"), bucket.ErrAbsent)
}

func (s suite) delete() {
	s.put("key", "content", bucket.Cond{})
	for range 2 {
		if err := s.bucket.Delete(s.Context(), "key"); err != nil {
			s.Errorf("delete: %v", err)
		}
	}
	_, err := s.bucket.Get(s.Context(), "key", 0, "")
	s.wantError(err, bucket.ErrAbsent)
	s.put("key", "again", bucket.IfAbsent())
}

func (s suite) list() {
	for _, key := range []string{"n/two/1", "n/one/1", "m/other", "n/one/2"} {
		s.put(key, key, bucket.Cond{})
	}
	var keys []string
	for info, err := range s.bucket.List(s.Context(), "n/") {
		if err != nil {
			s.Fatal(err)
		}
		if info.Size != int64(len(info.Key)) || info.ETag == "" || info.Age > time.Minute {
			s.Errorf("info %+v", info)
		}
		keys = append(keys, info.Key)
	}
	if want := []string{"n/one/1", "n/one/2", "n/two/1"}; !slices.Equal(keys, want) {
		s.Errorf("keys %q, want %q", keys, want)
	}
	for range s.bucket.List(s.Context(), "") { // who stops early leaks nothing
		break
	}
}

func (s suite) cancelled() {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_, err := s.bucket.Get(ctx, "key", 0, "")
	s.wantError(err, context.Canceled)
	_, err = s.bucket.Put(ctx, "key", nil, bucket.Cond{})
	s.wantError(err, context.Canceled)
	for _, err := range s.bucket.List(ctx, "") {
		s.wantError(err, context.Canceled)
	}
	s.wantError(s.bucket.Delete(ctx, "key"), context.Canceled)
	_, err = s.bucket.Get(s.Context(), "key", 0, "")
	s.wantError(err, bucket.ErrAbsent)
}
