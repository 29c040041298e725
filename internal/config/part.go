package config

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Part is a part of a size: a percentage of it, or a fixed number of bytes. At most one of
// the two is not 0.
type Part struct {
	Percent int // 0 to 100
	Size    Size
}

// Of returns the part of whole, which is 0 or more. Size is returned as it is, even if
// whole is less.
func (p Part) Of(whole Size) Size {
	if p.Percent == 0 {
		return p.Size
	}
	n := big.NewInt(int64(whole))
	n.Div(n.Mul(n, big.NewInt(int64(p.Percent))), big.NewInt(100))
	return Size(n.Int64())
}

// String returns the text that parsePart parses back to p.
func (p Part) String() string {
	if p.Percent == 0 {
		return p.Size.String()
	}
	return strconv.Itoa(p.Percent) + "%"
}

// parsePart accepts 0% to 100%, or a size.
func parsePart(s string) (Part, error) {
	var p Part
	if text, percent := strings.CutSuffix(s, "%"); percent {
		n, ok := number(text)
		if !ok || n > 100 {
			return Part{}, fmt.Errorf("%q is not a percentage; write 0%% to 100%%, or a size such as 25GiB", s)
		}
		return Part{Percent: n}, nil
	}
	if err := p.Size.Set(s); err != nil {
		return Part{}, fmt.Errorf("%q is neither a percentage nor a size; write for example 50%% or 25GiB", s)
	}
	return p, nil
}
