package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"math/big"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/cache"
	"mirrord/internal/cache/disk"
	"mirrord/internal/cache/lru"
	"mirrord/internal/health"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// forgetful is an index that stores nothing.
type forgetful struct{}

func (forgetful) Blobs() iter.Seq2[cache.BlobRecord, error] {
	return func(func(cache.BlobRecord, error) bool) {}
}
func (forgetful) PutBlobs(...cache.BlobRecord) error { return nil }
func (forgetful) RemoveBlobs(...oci.Digest) error    { return nil }

// tardy is an upstream body that begins late, so that a part far from its beginning
// is fetched separately.
type tardy struct {
	io.ReadSeeker
	begin *sync.Once
}

func (b tardy) Read(p []byte) (int, error) {
	b.begin.Do(func() { <-time.After(2 * time.Millisecond) })
	return b.ReadSeeker.Read(p)
}

// cold returns an empty cache in front of an upstream with content.
func cold(t *testing.T, content []byte) oci.Registry {
	t.Helper()
	fake := new(ocitest.Fake)
	fake.AddBlob("library/alpine", content)
	begin := new(sync.Once)
	fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader { return tardy{body, begin} })
	dir := t.TempDir()
	store, err := disk.Open(dir)
	check(t, err)
	c, err := cache.New(cache.Options{
		Health: health.New(health.Hooks{}),
		Next:   fake, Store: store, Policy: lru.NewPolicy(), Index: forgetful{}, Parts: dir, Limits: cache.Limits{MaxSize: 1 << 20},
	})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() { cancel(); check(t, <-done) })
	return c
}

// outcome is a response without what differs between responses.
type outcome struct {
	Status int
	Header http.Header
	Body   string
}

func answerOf(h http.Handler, path, ranges, ifRange string) outcome {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for name, value := range map[string]string{"Range": ranges, "If-Range": ifRange} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	w.Header().Del(viaHeader)
	w.Header().Del("Cache-Status")
	w.Header().Del("Docker-Distribution-Api-Version")
	body := w.Body.String()
	if _, parameters, err := mime.ParseMediaType(w.Header().Get("Content-Type")); err == nil && parameters["boundary"] != "" {
		body = strings.ReplaceAll(body, parameters["boundary"], "boundary")
		w.Header().Del("Content-Type")
	}
	return outcome{w.Code, w.Header(), body}
}

var (
	rangeSet  = regexp.MustCompile(`^(?i:bytes)=[ \t]*((\d*-\d*)?[ \t]*,[ \t]*)*(\d*-\d*)?[ \t]*$`)
	rangeSpec = regexp.MustCompile(`(\d*)-(\d*)`)
)

// canonical returns the Range for which net/http responds as RFC 9110 requires:
// only the satisfiable ranges, and no numbers that overflow.
func canonical(ranges string, size int64) string {
	specs := rangeSpec.FindAllStringSubmatch(ranges, -1)
	if !rangeSet.MatchString(ranges) || len(specs) == 0 {
		return ""
	}
	var there []string
	for _, spec := range specs {
		first, hasFirst := new(big.Int).SetString(spec[1], 10)
		last, hasLast := new(big.Int).SetString(spec[2], 10)
		end := big.NewInt(size)
		switch {
		case !hasFirst && !hasLast:
			return ""
		case hasFirst && first.Cmp(end) >= 0, hasFirst && hasLast && first.Cmp(last) > 0, !hasFirst && last.Sign() == 0:
		case hasFirst && hasLast && last.Cmp(end) < 0:
			there = append(there, fmt.Sprintf("%d-%d", first, last))
		case hasFirst:
			there = append(there, fmt.Sprintf("%d-", first))
		case last.Cmp(end) > 0:
			there = append(there, "0-")
		default:
			there = append(there, fmt.Sprintf("-%d", last))
		}
	}
	if len(there) == 0 {
		return fmt.Sprintf("bytes=%d-", size)
	}
	return "bytes=" + strings.Join(there, ",")
}

// Whether a blob is a file, in memory or still being downloaded, the response to a
// Range is that of net/http for the bytes, as far as that follows RFC 9110.
func FuzzRange(f *testing.F) {
	content := ocitest.Content(300_000, 1)
	d := oci.FromBytes(content).String()
	for _, ranges := range []string{
		"", "bytes=0-", "bytes=5-9", "bytes=-1", "bytes=-0", "bytes=290000-", "bytes=299999-400000", "bytes=300000-", "bytes=1-0", "bytes=0-0,-1",
		"bytes=299000-299010,0-9,5-14,150000-150001", "bytes=0-299999,0-", "bytes= 1 - 2 ,, 3-4", "bits=0-1", "bytes=", "bytes=a-b", "bytes=-9223372036854775808",
		"BYTES=5-9", "bytes=-00", "bytes=5-99999999999999999999", "bytes=99999999999999999999-", "bytes=0-1,-0", "bytes=,", "bytes=+1-2", "bytes=1-2-3",
		"bytes=0-1,9-8", "bytes", "bytes=1-2;3-4", "items=0-1",
		"bytes=" + strings.Repeat("290000-290001,", 30) + "1-2",
	} {
		f.Add(ranges, "")
		f.Add(ranges, `"`+d+`"`)
		f.Add(ranges, `"another"`)
	}
	path := "/v2/library/alpine/blobs/" + d
	ref, err := oci.ParseBlob(oci.DockerHub, "library/alpine", d)
	check(f, err)
	oracle := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header(), ref, oci.Result{Descriptor: oci.Descriptor{Digest: oci.Digest(d)}})
		if ranges := r.Header.Get("Range"); ranges != "" {
			r.Header.Set("Range", canonical(ranges, int64(len(content))))
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	stored := files(f, content)
	f.Fuzz(func(t *testing.T, ranges, ifRange string) {
		want := answerOf(oracle, path, ranges, ifRange)
		upstream := new(ocitest.Fake)
		upstream.AddBlob("library/alpine", content)
		for name, registry := range map[string]oci.Registry{"file": stored, "upstream": upstream, "spool": cold(t, content)} {
			got := answerOf(New(hub(registry)), path, ranges, ifRange)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: Range: %q, If-Range: %q: (-want +got)\n%.2000s", name, ranges, ifRange, diff)
			}
		}
	})
}
