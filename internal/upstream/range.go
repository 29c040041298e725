package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"

	"mirrord/internal/oci"
)

// errRange says that the response does not have the requested part of the blob; a
// request for the whole may succeed.
var errRange = errors.New("the upstream does not honor the range")

// errSize says that the upstream has content of another size under this digest.
var errSize = errors.New("the blob's size has changed at the upstream")

// span is the part of a blob in a response: from first up to but excluding end, of
// size bytes. end and size are oci.UnknownSize when the response does not report
// them.
type span struct{ first, end, size int64 }

// contentRange is RFC 9110, section 14.4. Units are case-insensitive (14.1), and
// numbers that do not fit an int64 are not matched.
var contentRange = regexp.MustCompile(`^(?i:bytes)[ \t]+(?:([0-9]{1,18})-([0-9]{1,18})|\*)[ \t]*/[ \t]*([0-9]{1,18}|\*)[ \t]*$`)

// parseSpan returns the part of a blob that a 200 or 206 response contains.
func parseSpan(resp *http.Response) (span, error) {
	if resp.StatusCode != http.StatusPartialContent {
		return span{end: resp.ContentLength, size: resp.ContentLength}, nil
	}
	header := resp.Header.Get("Content-Range")
	figures := contentRange.FindStringSubmatch(header)
	if figures == nil || figures[1] == "" || mediaType(resp) == "multipart/byteranges" {
		return span{}, fmt.Errorf("%w: 206 response of type %q with Content-Range %q", errRange, mediaType(resp), header)
	}
	s := span{first: number(figures[1]), end: number(figures[2]) + 1, size: number(figures[3])}
	if s.first >= s.end || s.size != oci.UnknownSize && s.end > s.size {
		return span{}, fmt.Errorf("%w: 206 response with Content-Range %q", errRange, header)
	}
	return s, nil
}

// number reads a number of contentRange; "*" means unknown.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return oci.UnknownSize
	}
	return n
}

// fits checks that s contains the byte at offset of a blob of size bytes, which may
// be oci.UnknownSize. The whole blob may end before offset: then the caller learns
// its size.
func (s span) fits(offset, size int64) error {
	whole := s.first == 0 && s.end == s.size
	switch {
	case size != oci.UnknownSize && s.size != oci.UnknownSize && s.size != size:
		return fmt.Errorf("%w: %d bytes, expected %d", errSize, s.size, size)
	case size != oci.UnknownSize && s.end > size:
		return fmt.Errorf("%w: at least %d bytes, expected %d", errSize, s.end, size)
	case s.first > offset, s.end != oci.UnknownSize && s.end <= offset && !whole:
		return fmt.Errorf("%w: it sent bytes %d to %d, requested from %d", errRange, s.first, s.end-1, offset)
	}
	return nil
}

// unsatisfied is the error for a 416 response. It holds the size of the whole blob,
// or oci.UnknownSize.
type unsatisfied struct{ size int64 }

func (unsatisfied) Error() string        { return "the range was refused" }
func (unsatisfied) Is(target error) bool { return target == errRange }

// unsatisfiedBy reads the Content-Range of a 416 response: "bytes */1234".
func unsatisfiedBy(resp *http.Response) unsatisfied {
	figures := contentRange.FindStringSubmatch(resp.Header.Get("Content-Range"))
	if figures == nil || figures[1] != "" {
		return unsatisfied{oci.UnknownSize}
	}
	return unsatisfied{number(figures[3])}
}
