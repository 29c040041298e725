package journal

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What becomes known while another write is in progress is written after it, and
// never replaced by what was true before.
func TestLastWriteIsTheTruth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		memory := map[string]int{"a": 1, "b": 1}
		stored := map[string]int{"c": 1}
		put := func(records ...[2]any) error {
			<-time.After(time.Second)
			for _, r := range records {
				stored[r[0].(string)] = r[1].(int)
			}
			return nil
		}
		remove := func(keys ...string) error {
			for _, key := range keys {
				delete(stored, key)
			}
			return nil
		}
		lookUp := func(key string) ([2]any, bool) {
			n, ok := memory[key]
			return [2]any{key, n}, ok
		}
		j := New(&mu, lookUp, put, remove)
		var writers sync.WaitGroup
		write := func(keys ...string) {
			writers.Go(func() {
				if err := j.Write(keys...); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		write("a", "b", "c")
		mu.Lock()
		memory["a"] = 2
		delete(memory, "b")
		mu.Unlock()
		write("a")
		write("b")
		writers.Wait()
		if len(stored) != 1 || stored["a"] != 2 {
			t.Errorf("stored %v; want a: 2", stored)
		}
	})
}

// Both errors are returned; that one write fails does not stop the other.
func TestErrors(t *testing.T) {
	errPut, errRemove := errors.New("put"), errors.New("remove")
	j := New(new(sync.Mutex), func(k int) (int, bool) { return k, k > 0 },
		func(...int) error { return errPut }, func(...int) error { return errRemove })
	if err := j.Write(1, -1); !errors.Is(err, errPut) || !errors.Is(err, errRemove) {
		t.Error(err)
	}
}
