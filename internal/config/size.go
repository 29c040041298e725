package config

import (
	"fmt"
	"math"
	"strconv"

	"github.com/docker/go-units"
)

// Size is a number of bytes.
type Size int64

// Set reads s: plain bytes, or a number with a binary unit, where 50GiB, 50GB
// and 50g all mean 50·2³⁰. On failure the Size is unchanged.
func (s *Size) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64) // exact, where go-units counts in floating point
	if err != nil && startsWithDigit(text) {
		n, err = units.RAMInBytes(text)
		// What a float too large becomes depends on the processor: the least or the greatest integer.
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

// startsWithDigit keeps from go-units what is no number to people, such as "inf b".
func startsWithDigit(s string) bool { return s != "" && '0' <= s[0] && s[0] <= '9' }

// String is exact, in the largest unit that leaves no fraction, and Set reads
// it back.
func (s Size) String() string {
	suffixes := []string{"", "KiB", "MiB", "GiB", "TiB", "PiB"}
	n, unit := int64(s), 0
	for n != 0 && n%1024 == 0 && unit < len(suffixes)-1 {
		n, unit = n/1024, unit+1
	}
	return strconv.FormatInt(n, 10) + suffixes[unit]
}
