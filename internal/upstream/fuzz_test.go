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
var contentRangeRE = regexp.MustCompile(`^(?:b|B)(?:y|Y)(?:t|T)(?:e|E)(?:s|S) ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)$`)

// promised reads what an answer has; false when it does not keep to the RFC. -1:
// it does not say where it ends, or how long the whole is.
func promised(resp *http.Response) (s span, ok bool) {
	if resp.StatusCode == http.StatusOK {
		return span{0, resp.ContentLength, resp.ContentLength}, true
	}
	figures := contentRangeRE.FindStringSubmatch(resp.Header.Get("Content-Range"))
	if figures == nil {
		return s, false
	}
	s.size = oci.UnknownSize
	s.first, _ = strconv.ParseInt(figures[1], 10, 64)
	s.end, _ = strconv.ParseInt(figures[2], 10, 64)
	s.end++
	if figures[3] != "*" {
		s.size, _ = strconv.ParseInt(figures[3], 10, 64)
	}
	return s, s.first < s.end && (s.size < 0 || s.end <= s.size)
}

// An answer that has the byte at the offset, of a blob of the size that is known,
// is accepted, and what is read from it begins at the offset.
func FuzzAccept(f *testing.F) {
	for _, header := range []string{
		"bytes 0-9/10", "bytes 5-9/10", "bytes 9-9/10", "bytes 5-5/10", "bytes 6-9/10", "bytes 10-9/10", "bytes 5-9/*", "bytes */10", "bytes 5-9/11",
		"bytes -5-9/10", "bytes 5-4/10", "5-9/10", "bytes=5-9/10", "bytes 5-99999999999999999999/10", "bytes 5-9/99999999999999999999", "bytes +5-9/10", "",
		"Bytes 5-9/10", "bytes 5-7/10", "bytes 5-7/*", "bytes 5-10/*", "bytes 0-4/*", "bytes  5-9 / 10 ", "bytes */*", "pages 5-9/10", "bytes 5-9/", "bytes 5-9",
	} {
		f.Add(true, header, int64(5), int64(5), int64(10))
		f.Add(false, header, int64(10), int64(5), int64(oci.UnknownSize))
		f.Add(true, header, int64(5), int64(5), int64(oci.UnknownSize))
	}
	f.Fuzz(func(t *testing.T, partial bool, header string, length, offset, known int64) {
		resp := &http.Response{StatusCode: http.StatusOK, ContentLength: max(length, -1), Header: http.Header{"Content-Range": {header}}}
		if partial {
			resp.StatusCode = http.StatusPartialContent
		}
		offset, known = offset&math.MaxInt64, max(known, oci.UnknownSize)
		b := &body{registry: new(Registry), size: known, offset: offset}
		err := b.accept(resp)
		s, ok := promised(resp)
		fits := s.first <= offset && (known < 0 || s.size < 0 || s.size == known) && (known < 0 || s.end <= known) &&
			(s.end < 0 || s.end > offset || s.first == 0 && s.end == s.size)
		if ok && fits != (err == nil) || ok && fits && (b.at != s.first || b.part != s || b.size != max(known, s.size)) {
			t.Errorf("bytes %+v at %d of %d: %v, at %d, size %d", s, offset, known, err, b.at, b.size)
		}
		if err == nil && (b.at < 0 || b.at > offset || known >= 0 && b.size != known) {
			t.Errorf("%q is accepted: at %d, size %d", header, b.at, b.size)
		}
	})
}

// Whatever a refusal of a range says, the size is one or not known.
func FuzzUnsatisfied(f *testing.F) {
	for _, header := range []string{"bytes */10", "bytes */*", "bytes 0-9/10", "BYTES  */ 7", "bytes */99999999999999999999", "*/10", ""} {
		f.Add(header, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		told := func(header string) int64 {
			return unsatisfiedBy(&http.Response{Header: http.Header{"Content-Range": {header}}}).size
		}
		if got := told(header); got < oci.UnknownSize || got >= 0 && !strings.Contains(header, "*") {
			t.Errorf("%q: size %d", header, got)
		}
		size &= 1<<59 - 1
		if got := told("bytes */" + strconv.FormatInt(size, 10)); got != size {
			t.Errorf("size %d, want %d", got, size)
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
		before := nextQuery(&http.Response{Header: header})
		if !strings.Contains(other, before) {
			t.Errorf("%q leads to %q", other, before)
		}
		u, err := url.Parse("/v2/a/tags/list?" + query)
		if err != nil || u.RawQuery != query || strings.ContainsAny(query, "<> \t") || strings.Contains(strings.ToLower(other), "next") {
			return
		}
		header.Add("Link", "<"+u.String()+`>; rel="next"`)
		if got := nextQuery(&http.Response{Header: header}); got != query {
			t.Errorf("after %q, %q leads to %q", other, query, got)
		}
	})
}
