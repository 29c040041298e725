package status

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	hoursOfDay = 24
	maxUses    = 1024 // images, and clients, that are counted; the least recently used is dropped
	shownUses  = 50
)

// use is what of the image or by the client K was pulled in each hour of the last day.
type use[K any] struct {
	key   K
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
func (u *use[K]) at(number int64) *hour {
	h := &u.hours[(number%hoursOfDay+hoursOfDay)%hoursOfDay]
	if h.number != number {
		*h = hour{number: number}
	}
	return h
}

// sum returns what was pulled in the day that ends with the hour of that number.
func (u *use[K]) sum(now int64) (s Use) {
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
type uses[K comparable] struct{ of *simplelru.LRU[K, *use[K]] }

func newUses[K comparable]() uses[K] { return uses[K]{newLRU[K, *use[K]](maxUses)} }

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
		used = &use[K]{key: clone(key)}
		u.of.Add(used.key, used)
	}
	used.last = now
	sum := used.at(hourNumber(now))
	sum.pulls += h.pulls
	sum.requests += h.requests
	sum.hits += h.hits
	sum.bytes += h.bytes
}

// summed is the use of K in the last day.
type summed[K any] struct {
	key K
	Use
}

// day returns the uses of the last day, which most puts into order without a lock.
func (u uses[K]) day(now time.Time) []summed[K] {
	used := u.of.Values()
	all := make([]summed[K], 0, len(used))
	for _, one := range used {
		if sum := one.sum(hourNumber(now)); sum.Requests > 0 {
			all = append(all, summed[K]{one.key, sum})
		}
	}
	return all
}

// most returns the uses that are shown, most pulled first, with their names.
func most[K fmt.Stringer](all []summed[K]) []Use {
	slices.SortFunc(all, func(a, b summed[K]) int {
		return cmp.Or(cmp.Compare(b.Pulls, a.Pulls), cmp.Compare(b.Bytes, a.Bytes), b.Last.Compare(a.Last))
	})
	shown := make([]Use, min(len(all), shownUses))
	for i := range shown {
		shown[i] = all[i].Use
		shown[i].Name = all[i].key.String()
	}
	return shown
}
