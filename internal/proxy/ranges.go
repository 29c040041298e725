package proxy

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"

	"mirrord/internal/oci"
)

// applyRange returns r for http.ServeContent, with the Range that is satisfiable
// for content of that size, and the parts after which the client stops reading. A
// range without an end, or with one beyond the end of the content, is not a part:
// the client wants the rest of the content.
func applyRange(r *http.Request, size int64) (*http.Request, []oci.Span) {
	header := r.Header.Get("Range")
	if header == "" {
		return r, nil
	}
	spans, parts, ok := parseRange(header, size)
	apply := new(http.Request)
	*apply = *r
	apply.Header = r.Header.Clone()
	switch {
	case !ok || size == 0: // RFC 9110, section 14.2: ignore the Range
		apply.Header.Del("Range")
	case len(spans) == 0:
		apply.Header.Set("Range", fmt.Sprintf("bytes=%d-", size)) // not satisfiable: 416
	default:
		apply.Header.Set("Range", formatRange(spans))
	}
	return apply, parts
}

// withPart adds to ctx the part of the blob that r requests first, as far as it is
// known without the size of the blob.
func withPart(ctx context.Context, r *http.Request) context.Context {
	spans, parts, _ := parseRange(r.Header.Get("Range"), math.MaxInt64)
	if len(spans) == 0 || spans[0].Begin > math.MaxInt64/2 { // counted from the end
		return ctx
	}
	first := spans[0]
	if len(parts) == 0 || parts[0] != first {
		first.End = 0
	}
	return oci.WithPartHint(ctx, first)
}

// parseRange parses a Range (RFC 9110, section 14.1). It returns the satisfiable
// spans, and those of them that are parts, see applyRange. ok is false for another
// unit and for an invalid Range.
func parseRange(header string, size int64) (spans, parts []oci.Span, ok bool) {
	unit, set, _ := strings.Cut(header, "=")
	if !strings.EqualFold(unit, "bytes") {
		return nil, nil, false
	}
	for spec := range strings.SplitSeq(set, ",") {
		spec = strings.Trim(spec, " \t")
		if spec == "" {
			continue // RFC 9110, section 5.6.1.2
		}
		span, part, valid := parseSpan(spec, size)
		if !valid {
			return nil, nil, false
		}
		ok = true
		if span.Begin < span.End {
			spans = append(spans, span)
		}
		if span.Begin < span.End && part {
			parts = append(parts, span)
		}
	}
	return spans, parts, ok
}

// parseSpan parses "first-last", "first-" or "-length". The span is empty, and so not
// satisfiable, if it is outside of the content or ends before it begins.
func parseSpan(s string, size int64) (span oci.Span, part, ok bool) {
	before, after, ok := strings.Cut(s, "-")
	if !ok || before == "" && after == "" {
		return oci.Span{}, false, false
	}
	if before == "" {
		length, ok := parseBytes(after)
		return oci.Span{Begin: size - min(length, size), End: size}, true, ok
	}
	first, ok1 := parseBytes(before)
	if after == "" {
		return oci.Span{Begin: first, End: size}, false, ok1
	}
	last, ok2 := parseBytes(after)
	return oci.Span{Begin: first, End: min(last, size-1) + 1}, last < size, ok1 && ok2
}

// parseBytes parses digits. A number that overflows becomes the largest, which is
// beyond the end of any content.
func parseBytes(s string) (n int64, ok bool) {
	for i := range len(s) {
		digit := int64(s[i]) - '0'
		if digit < 0 || digit > 9 {
			return 0, false
		}
		if n > (math.MaxInt64-digit)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + digit
	}
	return n, s != ""
}

func formatRange(spans []oci.Span) string {
	var b strings.Builder
	for i, span := range spans {
		separator := ","
		if i == 0 {
			separator = "bytes="
		}
		_, _ = fmt.Fprintf(&b, "%s%d-%d", separator, span.Begin, span.End-1)
	}
	return b.String()
}
