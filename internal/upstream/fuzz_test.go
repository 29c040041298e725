package upstream

import (
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"mirrord/internal/oci"
)

// contentRangeRE is RFC 9110's, of which the numbers fit.
var contentRangeRE = regexp.MustCompile(`^bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})$`)

// promised reads where an answer begins and how long the whole is; false when it
// does not keep to the RFC. -1: it does not say how long.
func promised(resp *http.Response) (first, size int64, ok bool) {
	if resp.StatusCode == http.StatusOK {
		return 0, resp.ContentLength, true
	}
	figures := contentRangeRE.FindStringSubmatch(resp.Header.Get("Content-Range"))
	if figures == nil {
		return 0, 0, false
	}
	first, _ = strconv.ParseInt(figures[1], 10, 64)
	last, _ := strconv.ParseInt(figures[2], 10, 64)
	size, _ = strconv.ParseInt(figures[3], 10, 64)
	return first, size, first <= last && last < size
}

// An answer that begins at the offset or before it, of a blob of the right size,
// is accepted, and what is read from it begins at the offset.
func FuzzAccept(f *testing.F) {
	for _, header := range []string{
		"bytes 0-9/10", "bytes 5-9/10", "bytes 9-9/10", "bytes 5-5/10", "bytes 6-9/10", "bytes 10-9/10", "bytes 5-9/*", "bytes */10", "bytes 5-9/11",
		"bytes -5-9/10", "bytes 5-4/10", "5-9/10", "bytes=5-9/10", "bytes 5-99999999999999999999/10", "bytes 5-9/99999999999999999999", "bytes +5-9/10", "",
	} {
		f.Add(true, header, int64(5), int64(5), int64(10))
		f.Add(false, header, int64(10), int64(5), int64(oci.UnknownSize))
	}
	f.Fuzz(func(t *testing.T, partial bool, header string, length, offset, known int64) {
		resp := &http.Response{StatusCode: http.StatusOK, ContentLength: max(length, -1), Header: http.Header{"Content-Range": {header}}}
		if partial {
			resp.StatusCode = http.StatusPartialContent
		}
		offset, known = offset&math.MaxInt64, max(known, oci.UnknownSize)
		b := &body{registry: new(Registry), size: known, offset: offset}
		err := b.accept(resp)
		first, size, ok := promised(resp)
		fits := first <= offset && (known == oci.UnknownSize || size < 0 || size == known)
		if ok && fits && (err != nil || b.skip != offset-first || size >= 0 && b.size != size) {
			t.Errorf("bytes from %d of %d: %v, skip %d, size %d", first, size, err, b.skip, b.size)
		}
		if err == nil && (ok && !fits || b.skip < 0 || b.skip > offset || known != oci.UnknownSize && b.size != known) {
			t.Errorf("%q is accepted: skip %d, size %d", header, b.skip, b.size)
		}
	})
}

// The query of a link to the next page comes through as it is, whatever other
// links there are.
func FuzzNext(f *testing.F) {
	for _, query := range []string{"last=b&n=100", "next_page=x%3D%3D", "n=1;last=2", "a,b", `a"b`, "", "%zz", "a b", "<a>", "\u2000"} {
		f.Add(query, `</v2/a/tags/list?n=1>; rel="first"`)
		f.Add(query, `<:>; rel=next`)
		f.Add(query, "<"+query)
	}
	f.Fuzz(func(t *testing.T, query, other string) {
		header := make(http.Header)
		header.Add("Link", other)
		before := next(&http.Response{Header: header})
		if !strings.Contains(other, before) {
			t.Errorf("%q leads to %q", other, before)
		}
		u, err := url.Parse("/v2/a/tags/list?" + query)
		if err != nil || u.RawQuery != query || strings.ContainsAny(query, "<> \t") || strings.Contains(strings.ToLower(other), "next") {
			return
		}
		header.Add("Link", "<"+u.String()+`>; rel="next"`)
		if got := next(&http.Response{Header: header}); got != query {
			t.Errorf("after %q, %q leads to %q", other, query, got)
		}
	})
}
