package status

import (
	"cmp"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	hoursOfDay = 24
	maxUses    = 1024 // images, and clients, that are counted; the least recently used is dropped
	shownUses  = 50
)

// use is what of one image, or by one client, was pulled in each hour of the last day.
type use struct {
	hours [hoursOfDay]hour
	last  time.Time
}

// hour is what was pulled in the hour of that number since 1970.
type hour struct {
	number                int64
	pulls, requests, hits int64
	bytes                 int64
}

// at returns the hour of that number to add to.
func (u *use) at(number int64) *hour {
	h := &u.hours[(number%hoursOfDay+hoursOfDay)%hoursOfDay]
	if h.number != number {
		*h = hour{number: number}
	}
	return h
}

// sum returns what was pulled in the day that ends with the hour of that number.
func (u *use) sum(now int64) (s Use) {
	for _, h := range u.hours {
		if h.number <= now && h.number > now-hoursOfDay {
			s.Pulls += h.pulls
			s.Requests += h.requests
			s.Hits += h.hits
			s.Bytes += h.bytes
		}
	}
	s.Last = u.last
	return s
}

func hourNumber(t time.Time) int64 { return floorDiv(t.Unix(), 60*60) }

// uses are those of images or clients by K, in bounded memory.
type uses[K comparable] struct{ of *simplelru.LRU[K, *use] }

func newUses[K comparable]() uses[K] { return uses[K]{newLRU[K, *use](maxUses)} }

func newLRU[K comparable, V any](size int) *simplelru.LRU[K, V] {
	l, err := simplelru.NewLRU[K, V](size, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return l
}

// note counts a request; clone returns a key that can be retained.
func (u uses[K]) note(key K, clone func(K) K, now time.Time, h hour) {
	used, ok := u.of.Get(key)
	if !ok {
		used = new(use)
		u.of.Add(clone(key), used)
	}
	used.last = now
	sum := used.at(hourNumber(now))
	sum.pulls += h.pulls
	sum.requests += h.requests
	sum.hits += h.hits
	sum.bytes += h.bytes
}

// most returns those of the last day, most pulled first, by name.
func (u uses[K]) most(now time.Time, name func(K) string) []Use {
	type ranked struct {
		key K
		Use
	}
	var all []ranked
	for _, key := range u.of.Keys() {
		used, _ := u.of.Peek(key)
		if sum := used.sum(hourNumber(now)); sum.Requests > 0 {
			all = append(all, ranked{key, sum})
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.Pulls, a.Pulls), cmp.Compare(b.Bytes, a.Bytes), b.Last.Compare(a.Last))
	})
	shown := make([]Use, min(len(all), shownUses))
	for i := range shown {
		shown[i] = all[i].Use
		shown[i].Name = name(all[i].key)
	}
	return shown
}
