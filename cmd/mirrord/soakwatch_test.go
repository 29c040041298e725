package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mirrord/internal/oci"
)

// soakFigures is what the clients have got.
type soakFigures struct {
	whole, left, failed, wrong, hung int
	hits                             int // of whole
	bytes, hitBytes                  int64
}

func (f *soakFigures) count(a answer) {
	f.bytes += a.bytes
	hit := a.via == string(oci.Hit) || a.via == string(oci.Revalidated) || a.via == string(oci.Stale)
	if hit {
		f.hitBytes += a.bytes
	}
	switch {
	case a.err == nil:
		f.whole++
		if hit {
			f.hits++
		}
	case errors.Is(a.err, errLeft):
		f.left++
	case errors.Is(a.err, errWrong):
		f.wrong++
	case errors.Is(a.err, errHung):
		f.hung++
	default:
		f.failed++
	}
}

// sample is the mirror at one moment.
type sample struct {
	resident, evictions float64
	disk                weight
}

// watch takes a sample each second and checks that the disk is never over budget.
func (s *soak) watch(length time.Duration) {
	s.t.Helper()
	for end := time.Now().Add(length); ; pause(s.t.Context(), time.Second) {
		m := s.m.metrics(s.t)
		now := sample{m["process_resident_memory_bytes"], m["mirrord_cache_evictions_total"], weigh(s.t, s.m.cache)}
		s.samples = append(s.samples, now)
		if now.disk.bytes > soakCache {
			s.t.Errorf("second %d: %d bytes in blobs and fills, %d allowed", len(s.samples), now.disk.bytes, soakCache)
		}
		if most := soakCache + now.disk.files*blockSize; now.disk.allocated > most {
			s.t.Errorf("second %d: %d bytes allocated for %d files, %d allowed", len(s.samples), now.disk.allocated, now.disk.files, most)
		}
		s.m.forgetLog() // it is long, and its end is what tells
		if time.Now().After(end) {
			return
		}
	}
}

// blockSize is what a file system may take for the last byte of a file.
const blockSize = 4096

// weight is that of files.
type weight struct{ files, bytes, allocated int64 }

// weigh returns the weight of what lies in blobs and fills. A file counts when it
// is there both at the beginning and at the end, with what it had at the beginning:
// so much there was at one moment, though files come and go meanwhile. Those that
// have lost their name and are still open do not show.
func weigh(t *testing.T, cache string) (w weight) {
	t.Helper()
	before, after := contents(t, cache), contents(t, cache)
	for path, info := range before {
		if _, stays := after[path]; stays {
			w.files++
			w.bytes += info.Size()
			w.allocated += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
	}
	return w
}

func contents(t *testing.T, cache string) map[string]fs.FileInfo {
	t.Helper()
	files := make(map[string]fs.FileInfo)
	for _, dir := range []string{"blobs", "fills"} {
		err := filepath.WalkDir(filepath.Join(cache, dir), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				files[path], err = entry.Info()
			}
			if errors.Is(err, fs.ErrNotExist) {
				delete(files, path)
				return nil
			}
			return err
		})
		check(t, err)
	}
	return files
}

const (
	evictionWindow = 60 // samples: a body may stall for half a minute, of a blob that every client waits for in the end
	flatAfter      = 60 // samples: a shorter run says nothing about memory, and is one of the race detector's

	// The index's table and its mapped log grow to this for some ten minutes, and
	// then start again.
	indexTable   = 16 << 20
	flatGrowth   = 1.15 // of the rest
	mostResident = 96 << 20
)

// judge checks what the whole run says.
func (s *soak) judge() {
	s.t.Helper()
	if s.fewestEvictions() == 0 {
		s.t.Errorf("no eviction in %d s", evictionWindow)
	}
	if s.seen.failed > s.seen.whole/4 {
		s.t.Errorf("%d answers failed, %d were whole", s.seen.failed, s.seen.whole)
	}
	if len(s.samples) < flatAfter {
		return
	}
	if q := s.residentQuarters(); q[3] > flatGrowth*q[0]+indexTable {
		s.t.Errorf("resident memory grows: medians of the quarters %.0f", q)
	}
	if most := s.most(func(x sample) float64 { return x.resident }); most > mostResident {
		s.t.Errorf("%.0f bytes of resident memory, %d allowed", most, mostResident)
	}
}

// fewestEvictions is of any window of the run.
func (s *soak) fewestEvictions() float64 {
	fewest := math.Inf(1)
	window := min(evictionWindow, len(s.samples)-1)
	for i := window; i < len(s.samples); i++ {
		fewest = min(fewest, s.samples[i].evictions-s.samples[i-window].evictions)
	}
	return fewest
}

// residentQuarters are the medians of the memory in each quarter of the run.
func (s *soak) residentQuarters() (medians [4]float64) {
	n := len(s.samples)
	for i := range medians {
		var quarter []float64
		for _, x := range s.samples[i*n/4 : (i+1)*n/4] {
			quarter = append(quarter, x.resident)
		}
		slices.Sort(quarter)
		medians[i] = quarter[len(quarter)/2]
	}
	return medians
}

func (s *soak) most(of func(sample) float64) float64 {
	return of(slices.MaxFunc(s.samples, func(a, b sample) int { return cmp.Compare(of(a), of(b)) }))
}

// table is for docs/reliability.md.
func (s *soak) table(length time.Duration) string {
	f, q := s.seen, s.residentQuarters()
	all := f.whole + f.left + f.failed + f.wrong + f.hung
	evictions := s.samples[len(s.samples)-1].evictions - s.samples[0].evictions
	var b strings.Builder
	row := func(name, format string, values ...any) { fmt.Fprintf(&b, "| "+name+" | "+format+" |\n", values...) }
	row("", "")
	row("---", "---")
	row("load", "%d clients, %s", soakClients, length)
	row("all requested content, `cache.max_size`", "%s, %s", mib(s.content.size), mib(soakCache))
	row("responses", "%d, %d a second, %s", all, all/int(length.Seconds()), mib(f.bytes))
	row("complete and right", "%d", f.whole)
	row("wrong; hung", "%d; %d", f.wrong, f.hung)
	row("refused or cut, the upstream failing", "%d", f.failed)
	row("abandoned by the client", "%d", f.left)
	row("hit ratio by responses, by bytes", "%.2f, %.2f", float64(f.hits)/float64(f.whole), float64(f.hitBytes)/float64(f.bytes))
	row(fmt.Sprintf("evictions, fewest in %d s", evictionWindow), "%.0f, %.0f", evictions, s.fewestEvictions())
	row("most in `blobs` and `fills`, allocated", "%s, %s",
		mib(s.most(func(x sample) float64 { return float64(x.disk.bytes) })), mib(s.most(func(x sample) float64 { return float64(x.disk.allocated) })))
	row("resident memory, median of each quarter", "%s, %s, %s, %s", mib(q[0]), mib(q[1]), mib(q[2]), mib(q[3]))
	row("resident memory, most", "%s", mib(s.most(func(x sample) float64 { return x.resident })))
	return b.String()
}

func mib[N int | int64 | float64](n N) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
