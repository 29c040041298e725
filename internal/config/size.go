package config

import (
	"fmt"
	"math"
	"strconv"

	"github.com/docker/go-units"
)

// Size is a number of bytes.
type Size int64

// Set parses text: bytes, or a number with a binary unit, where 50GiB, 50GB and 50g
// all mean 50·2³⁰. When it fails, s is unchanged.
func (s *Size) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64) // exact; go-units uses floating point
	if err != nil && startsWithDigit(text) {
		n, err = units.RAMInBytes(text)
		// A float that overflows becomes, depending on the processor, the smallest or the largest integer.
		if n == math.MaxInt64 {
			n = -1
		}
	}
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a size; write a number with a unit, such as 50GiB", text)
	}
	*s = Size(n)
	return nil
}

// startsWithDigit excludes what go-units accepts but people do not, such as "inf b".
func startsWithDigit(s string) bool { return s != "" && '0' <= s[0] && s[0] <= '9' }

// String returns the exact size in the largest unit without a fraction; Set parses it
// back.
func (s Size) String() string {
	suffixes := []string{"", "KiB", "MiB", "GiB", "TiB", "PiB"}
	n, unit := int64(s), 0
	for n != 0 && n%1024 == 0 && unit < len(suffixes)-1 {
		n, unit = n/1024, unit+1
	}
	return strconv.FormatInt(n, 10) + suffixes[unit]
}
